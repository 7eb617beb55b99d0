"""No result of native code depends on memory that nobody has written."""

from __future__ import annotations

import subprocess
import sys

from tests.vision.unwritten_memory import CONTROL


def test_results_do_not_depend_on_unwritten_memory() -> None:
    command = [sys.executable, "-m", "tests.vision.unwritten_memory"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert output.split("\n")[:-1] == [CONTROL]
