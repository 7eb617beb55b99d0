"""A till that was suspended after its request does not act on a late match: see the rule ``late``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.kits.simulator.script import ScriptStep, SimulatedFault
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.terminal import SimulatorSetup
from agent.messages.topics import Topics
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.tills.test_tills import _settings, node, python

pytestmark = [pytest.mark.long, pytest.mark.forged]

TTL_MS = 3_000
# the clocks that stop in suspend, and with them the timer of the till
STOPPED_IN_NODE = f"""const start = setTimeout; performance.now = () => 1000
globalThis.setTimeout = (call, ms, ...more) => start(call, ms === {TTL_MS} ? 1e6 : ms, ...more)
"""
STOPPED_IN_PYTHON = "import time; time.monotonic = lambda: 1000.0"


def stopped_node(folder: Path) -> list[str]:
    (folder / "stopped.mjs").write_text(STOPPED_IN_NODE)
    return ["node", "--import", "./stopped.mjs", "till.mjs"]


def stopped_python(folder: Path) -> list[str]:
    program, till = python(folder)
    run = "import runpy, sys; del sys.argv[0]; sys.path.insert(0, sys.argv[0].rpartition('/')[0])"
    return [
        program,
        "-c",
        f"{STOPPED_IN_PYTHON}; {run}; runpy.run_path(sys.argv[0], run_name='__main__')",
        till,
    ]


@pytest.mark.parametrize("name", ["node", "python"])
async def test_till_with_clocks_that_stopped_does_not_accept_a_late_match(
    name: str, broker: Mosquitto, tmp_path: Path
) -> None:
    install: Callable[[Path], list[str]] = stopped_python
    if name == "node":
        node(tmp_path)
        install = stopped_node
    command, topics = install(tmp_path), Topics("site", f"late-{name}")
    setup = SimulatorSetup(MqttConfig(port=broker.port), topics, tmp_path / "terminal", RealClock())
    simulator = Simulator(setup, lambda _request: ScriptStep(fault=SimulatedFault.LATE))
    await simulator.start()
    (tmp_path / "terminal.pem").write_bytes(simulator.terminal.key.public.pem())
    (tmp_path / "photo").write_bytes(b"a photo")
    environment = os.environ | _settings(name, topics, broker.port) | {"FACEPAY_TTL_MS": str(TTL_MS)}
    try:
        till = await asyncio.create_subprocess_exec(
            *(*command, "photo"), cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            printed, _ = await till.communicate()
    finally:
        await simulator.stop()
    assert (printed.decode().split()[0], till.returncode) == ("undecided/same_person", 1)
