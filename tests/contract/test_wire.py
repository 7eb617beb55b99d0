"""The message check detects an invalid message, and adds no import to tests of pure code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from tests.contract import wire

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("paho", "joserfc", "yaml", "jsonschema", "cv2", "numpy", "cryptography")


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


async def test_publish_records_an_invalid_message_and_accepts_an_empty_one() -> None:
    connection = Connection(
        MqttConfig(), ClientOptions("terminal-1", [], lambda _message: None, lambda: None)
    )
    for payload in (b"", b'{"v": "no number"}'):  # an empty payload clears a retained message
        assert wire.broken == []
        with pytest.raises(TillError):  # not connected: the check runs first
            await connection.publish(Message("facepay/site/terminal-1/state", payload))
    (problem,) = wire.broken
    assert "facepay/site/terminal-1/state" in problem
    wire.broken.clear()  # otherwise the fixture fails this test


def test_root_conftest_loads_no_library_of_the_product() -> None:
    loaded = python(
        "import sys, tests.conftest; print(*{name.split('.')[0] for name in sys.modules})"
    ).split()
    assert "hypothesis" in loaded
    assert set(HEAVY).isdisjoint(loaded)


def test_connection_imported_later_is_checked() -> None:
    code = (
        "import tests.conftest; from agent.mqtt.connection import Connection;"
        " print(Connection.publish.__name__)"
    )
    assert python(code) == "checked_publish"
