"""The Python and the shell till act on a timely match although the ack is slow or fails."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.kits.simulator.script import ScriptStep
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.terminal import SimulatorSetup
from agent.messages.topics import Topics
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.tills.test_tills import _settings, python, shell

pytestmark = [pytest.mark.long]

TTL_MS = 3_000
ACKS = {
    "slow": f"await asyncio.sleep({2 * TTL_MS / 1e3})",
    "failed": "raise aiomqtt.MqttError('the connection was cut')",
}
DRIVER = """
import asyncio, runpy, sys, aiomqtt
publish = aiomqtt.Client.publish
async def disturbed(self, topic, *more, **options):
    if topic.endswith("/ack"):
        {disturb}
    await publish(self, topic, *more, **options)
aiomqtt.Client.publish = disturbed
del sys.argv[0]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


PUBLISH = """#!/bin/bash
[[ "$*" != */verify/*/ack* ]] || {disturb}
exec {program} "$@"
"""
SHELL_ACKS = {"slow": f"sleep {2 * TTL_MS / 1e3}", "failed": "exit 1"}


@pytest.mark.parametrize("ack", ACKS)
async def test_python_till_with_a_disturbed_ack_accepts_a_timely_match(
    ack: str, broker: Mosquitto, tmp_path: Path
) -> None:
    program, till_file = python(tmp_path)
    driver = DRIVER.format(disturb=ACKS[ack])
    command = (program, "-c", driver, till_file)
    assert await _outcome("python", command, {}, broker, tmp_path) == ("match/same_person", 0)


@pytest.mark.parametrize("ack", SHELL_ACKS)
async def test_shell_till_with_a_disturbed_ack_accepts_a_timely_match(
    ack: str, broker: Mosquitto, tmp_path: Path
) -> None:
    command = shell(tmp_path)
    publish = tmp_path / "bin" / "mosquitto_pub"
    publish.parent.mkdir()
    publish.write_text(PUBLISH.format(disturb=SHELL_ACKS[ack], program=shutil.which("mosquitto_pub")))
    publish.chmod(0o755)
    path = {"PATH": f"{publish.parent}:{os.environ['PATH']}"}
    assert await _outcome("shell", command, path, broker, tmp_path) == ("match/same_person", 0)


async def _outcome(
    name: str, command: Sequence[str], more: dict[str, str], broker: Mosquitto, folder: Path
) -> tuple[str, int | None]:
    """The last line and the exit code of a till that requests one verification."""
    topics = Topics("site", "ack")
    setup = SimulatorSetup(MqttConfig(port=broker.port), topics, folder / "terminal", RealClock())
    simulator = Simulator(setup, lambda _request: ScriptStep())
    await simulator.start()
    (folder / "terminal.pem").write_bytes(simulator.terminal.key.public.pem())
    (folder / "photo").write_bytes(b"a photo")
    settings = _settings(name, topics, broker.port) | {"FACEPAY_TTL_MS": str(TTL_MS)}
    environment = os.environ | settings
    try:
        till = await asyncio.create_subprocess_exec(
            *(*command, "photo"), cwd=folder, env=environment | more, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            printed, _ = await till.communicate()
    finally:
        await simulator.stop()
    return printed.decode().strip(), till.returncode
