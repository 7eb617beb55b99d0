"""The check of every message finds a wrong one, and costs a test of pure code no import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring
from tests.contract import wire

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("paho", "joserfc", "yaml", "jsonschema", "cv2", "numpy", "cryptography")


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


async def test_a_message_outside_the_contract_is_recorded_and_a_valid_retraction_is_not() -> None:
    link = Connection(MqttConfig(), Wiring("terminal-1", [], lambda _message: None, lambda: None))
    for payload in (b"", b'{"v": "no number"}'):  # an empty payload clears a retained message
        assert wire.broken == []
        with pytest.raises(TillError):  # not connected: the check comes first
            await link.publish(Message("facepay/site/terminal-1/state", payload))
    (found,) = wire.broken
    assert "facepay/site/terminal-1/state" in found
    wire.broken.clear()  # else this test fails, as any other would


def test_the_root_conftest_loads_no_library_of_the_product() -> None:
    loaded = python(
        "import sys, tests.conftest; print(*{name.split('.')[0] for name in sys.modules})"
    ).split()
    assert "hypothesis" in loaded
    assert set(HEAVY).isdisjoint(loaded)


def test_a_link_that_is_imported_later_is_checked_as_well() -> None:
    code = (
        "import tests.conftest; from agent.mqtt.connection import Connection;"
        " print(Connection.publish.__name__)"
    )
    assert python(code) == "checked_publish"
