"""The Python till acts on a timely match although its ack is slow or fails."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.kits.simulator.script import ScriptStep
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.terminal import SimulatorSetup
from agent.messages.topics import Topics
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.tills.test_tills import _settings, python

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


@pytest.mark.parametrize("ack", ACKS)
async def test_python_till_with_a_disturbed_ack_accepts_a_timely_match(
    ack: str, broker: Mosquitto, tmp_path: Path
) -> None:
    program, till_file = python(tmp_path)
    topics = Topics("site", f"ack-{ack}")
    setup = SimulatorSetup(MqttConfig(port=broker.port), topics, tmp_path / "terminal", RealClock())
    simulator = Simulator(setup, lambda _request: ScriptStep())
    await simulator.start()
    (tmp_path / "terminal.pem").write_bytes(simulator.terminal.key.public.pem())
    (tmp_path / "photo").write_bytes(b"a photo")
    driver = DRIVER.format(disturb=ACKS[ack])
    environment = os.environ | _settings("python", topics, broker.port) | {"FACEPAY_TTL_MS": str(TTL_MS)}
    try:
        till = await asyncio.create_subprocess_exec(
            *(program, "-c", driver, till_file, "photo"),
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            printed, _ = await till.communicate()
    finally:
        await simulator.stop()
    assert (printed.decode().strip(), till.returncode) == ("match/same_person", 0)
