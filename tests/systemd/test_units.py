"""The shipped units: clean, and with the least rights that work. Read offline by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parent.parent.parent / "systemd"
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze on this machine")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(ANALYZE), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("unit", "worst"), [("facepay-agent.service", 1.5), ("facepay-compare.service", 1.2)]
)
def test_a_unit_exposes_no_more_than_it_must(
    unit: str, worst: float, record_property: Callable[[str, object], None]
) -> None:
    output = analyze("security", "--offline=true", "--no-pager", SYSTEMD / unit).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", output)
    assert found, output
    record_property("figure", f"{unit}: exposure {found[1]} (at most {worst})")
    assert float(found[1]) <= worst


@pytest.mark.parametrize("unit", ["facepay-agent.service", "facepay-compare.service"])
def test_a_unit_has_nothing_systemd_objects_to(unit: str, tmp_path: Path) -> None:
    # The program is not installed here: a stand-in that exists lets verify judge the rest.
    text = (SYSTEMD / unit).read_text().replace("/opt/facepay-agent/bin/facepay", "/bin/true")
    copy = tmp_path / unit
    copy.write_text(re.sub(r"file:/\S+", "", text))
    done = analyze("verify", copy)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_no_unit_dumps_core_or_holds_a_secret() -> None:
    for path in SYSTEMD.glob("*.service"):
        text = path.read_text()
        assert "LimitCORE=0" in text, f"{path.name}: a core dump holds faces"
        assert "Environment=" not in text and "--secret" not in text, f"{path.name}: secrets are credentials"
