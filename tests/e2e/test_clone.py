"""Two terminals with one name: each reports it; a terminal that was only restarted does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.fleet import machine
from agent.messages.encode import TerminalIdentity, state
from agent.messages.signing import Signer
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from tests.e2e.agents import TOPICS, Place, running
from tests.e2e.test_keys import facepay

# In each Python process: /etc/machine-id has an id, also on a machine without one.
MACHINE_ID = """
import pathlib
read = pathlib.Path.read_bytes
def read_bytes(path):
    return b"0123456789abcdef" * 2 + b"\\n" if str(path) == "/etc/machine-id" else read(path)
pathlib.Path.read_bytes = read_bytes
"""


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(MACHINE_ID)
    monkeypatch.setenv("PYTHONPATH", str(folder))


async def codes(config: Path, wanted: str) -> str:
    """The output of `facepay status` as soon as it contains ``wanted``."""
    async with asyncio.timeout(60):
        while True:
            done = await asyncio.to_thread(facepay, "status", "--config", config)
            if wanted in done.stdout:
                return done.stdout
            await asyncio.sleep(0.5)


async def test_status_of_another_terminal_with_this_name_raises_terminal_cloned(place: Place) -> None:
    config = place.config("empty")
    up = asyncio.Event()
    wiring = ClientOptions("another-client", [], lambda _message: None, up.set)
    other = Connection(MqttConfig(port=place.broker.port), wiring)
    who = TerminalIdentity(
        "shop-1", "terminal-1", boot_id="11111111-2222-3333-4444-555555555555", epoch="e" * 32
    )
    key = {"kid": "cc" * 8, "sha256": "cc" * 32}
    limits = {"request_max_bytes": 98_304, "budget_max_ms": 8_000, "inline_reference": True}
    more = {"version": "0", "profile": "demo", "accepted_risks": [], "limits": limits, "conditions": []}
    async with running(config):
        await codes(config, "ONLINE")
        await other.start()
        await asyncio.wait_for(up.wait(), 60)
        await other.publish(
            Message(TOPICS.state, state("online", who, more | {"key": key}, Signer.generate()), retained=True)
        )
        shown = await codes(config, "terminal_cloned")
        assert "facepay enrol" in shown
        await other.publish(Message(TOPICS.state, b"", retained=True))
        await other.stop()


async def test_restart_after_kill_is_no_clone(place: Place) -> None:
    config = place.config("empty")
    async with running(config) as agent:
        await codes(config, "connected, 0")
        agent.process.kill()
        await agent.ended(60)
    async with running(config):
        shown = await codes(config, "connected, 0")
        await asyncio.sleep(0.5)
        assert "terminal_cloned" not in shown + await codes(config, "connected, 0")


@pytest.mark.usefixtures("machine_id")
async def test_copied_state_directory_is_reported_until_keys_bind(place: Place) -> None:
    config = place.config("empty")
    async with running(config, fresh=True):
        await codes(config, "ONLINE")
    mark = place.folder / "state" / machine.FILE
    mark.write_text("0" * 64)
    async with running(config, fresh=True):
        assert "facepay keys bind" in await codes(config, "machine_changed")
    # an interpreter of its own: only a new one loads the machine id of this test
    bind = [sys.executable, "-m", "agent.cli", "keys", "bind", "--config", str(config)]
    await asyncio.to_thread(subprocess.run, bind, check=True, capture_output=True, timeout=60)
    async with running(config, fresh=True):
        assert "machine_changed" not in await codes(config, "ONLINE")
