"""The tills of docs/tills pass the conformance kit, with the packages from their registries."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.core.reasons import Reason
from agent.kits.simulator.script import ScriptStep
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.state_behaviour import lose_copies, restart_unretained
from agent.kits.simulator.terminal import SimulatorSetup
from agent.kits.till_conformance.kit import Kit
from agent.kits.till_conformance.preparation import WaitTimes
from agent.kits.till_conformance.rules import ScenarioRow
from agent.kits.till_conformance.scenarios import SCENARIOS, Scenario
from agent.messages import encode
from agent.messages.encode import TerminalIdentity
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from tests.brokers import Mosquitto
from tests.fakes import RealClock

pytestmark = [pytest.mark.long, pytest.mark.forged]  # the kit sends broken messages on purpose

TILLS = Path(__file__).parents[2] / "docs" / "tills"
TTL_MS, REQUEST_S = 15_000, 120.0
# longer than the reaction of the till; the shell till starts about twenty processes for each message
SETTLE_S = {"node": 4.0, "python": 4.0, "shell": 8.0}


def installed(*command: str | Path, folder: Path) -> None:
    """Install packages from a registry; skip with the reason where no registry can be reached."""
    try:
        done = subprocess.run(
            list(map(str, command)), check=False, cwd=folder, capture_output=True, text=True, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"needs {command[0]} and its registry: {error}")
    if done.returncode:
        pytest.skip(f"{command[0]} cannot install the packages: {done.stderr.strip()[-300:]}")


def node(folder: Path) -> list[str]:
    if shutil.which("node") is None:
        pytest.skip("needs Node.js: apt-get install nodejs npm")
    shutil.copy(TILLS / "till.mjs", folder)
    installed("npm", "install", "--silent", "--no-audit", "--no-fund", "mqtt@5", folder=folder)
    return ["node", "till.mjs"]


def python(folder: Path) -> list[str]:
    installed(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    program = folder / "venv" / "bin" / "python"
    installed(program, "-m", "pip", "install", "--quiet", "aiomqtt", "joserfc", folder=folder)
    return [str(program), str(TILLS / "till.py")]


def shell(folder: Path) -> list[str]:
    for program in ("mosquitto_sub", "jq", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install mosquitto-clients jq openssl")
    return ["bash", str(TILLS / "till.sh")]


def _settings(name: str, topics: Topics, port: int) -> dict[str, str]:
    return {
        "FACEPAY_SITE": topics.site,
        "FACEPAY_TERMINAL": topics.terminal,
        "FACEPAY_TERMINAL_KEY": "terminal.pem",
        "FACEPAY_BROKER": f"{'mqtt://' if name == 'node' else ''}127.0.0.1:{port}",
        "FACEPAY_MOSQUITTO_OPTIONS": f"-h 127.0.0.1 -p {port}",
    }


async def _examined(
    command: list[str], broker: Mosquitto, folder: Path, name: str, part: tuple[Scenario, ...]
) -> list[ScenarioRow]:
    topics = Topics("site", name)
    setup = SimulatorSetup(MqttConfig(port=broker.port), topics, folder, RealClock())
    kit = Kit(setup, "till-1", WaitTimes(request_s=REQUEST_S, settle_s=SETTLE_S[name]))
    await kit.start()
    own = folder / "till.key"
    (folder / "terminal.pem").write_bytes(kit.public_key_pem)
    Signer.generate().save(own)
    test_mode = {"FACEPAY_CONFORMANCE": "1", "FACEPAY_TTL_MS": str(TTL_MS), "FACEPAY_SIGN_KEY": str(own)}
    environment = os.environ | _settings(name, topics, kit.port) | test_mode
    till = await asyncio.create_subprocess_exec(
        *("sh", "-c", 'while "$@"; do :; done', "again", *command),  # the kit restarts the till
        cwd=folder,
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return await kit.run(part)
    finally:
        os.killpg(till.pid, 15)
        await till.wait()
        await kit.stop()


@pytest.mark.parametrize("part", [SCENARIOS[:18], SCENARIOS[18:]], ids=["first", "second"])  # each < 5 min
@pytest.mark.parametrize("install", [node, python, shell], ids=lambda each: each.__name__)
async def test_till_passes_every_scenario_of_the_kit(
    install: Callable[[Path], list[str]], part: tuple[Scenario, ...], broker: Mosquitto, tmp_path: Path
) -> None:
    rows = await _examined(install(tmp_path), broker, tmp_path, install.__name__, part)
    assert [row.scenario for row in rows] == [scenario.name for scenario in part]
    assert [row for row in rows if row.outcome != "pass"] == []


@pytest.mark.parametrize("install", [node, python, shell], ids=lambda each: each.__name__)
async def test_till_prints_the_outcome_of_one_request(
    install: Callable[[Path], list[str]], broker: Mosquitto, tmp_path: Path
) -> None:
    """Although the broker retains no state and the first copy of the state is lost."""
    command, topics = install(tmp_path), Topics("site", f"one-{install.__name__}")
    steps = deque([ScriptStep(reason=Reason.DIFFERENT_PERSON), ScriptStep()])
    setup = SimulatorSetup(MqttConfig(port=broker.port), topics, tmp_path / "terminal", RealClock())
    simulator = Simulator(setup, lambda _request: steps.popleft())
    await simulator.start()
    (tmp_path / "terminal.pem").write_bytes(simulator.terminal.key.public.pem())
    (tmp_path / "photo").write_bytes(b"a photo")
    environment = os.environ | _settings(install.__name__, topics, broker.port) | {"FACEPAY_TTL_MS": "20000"}
    ends = []
    try:
        for _ in range(2):
            await restart_unretained(simulator.terminal)
            lose_copies(simulator.terminal.till.state, 1)
            till = await asyncio.create_subprocess_exec(
                *(*command, "photo"), cwd=tmp_path, env=environment, stdout=subprocess.PIPE
            )
            async with asyncio.timeout(60):
                printed, _ = await till.communicate()
            ends.append((printed.decode().split()[0], till.returncode))
    finally:
        await simulator.stop()
    assert ends == [("no_match/different_person", 1), ("match/same_person", 0)]


async def _published(broker: Mosquitto, topic: str, payload: bytes, *options: str) -> None:
    done = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-p", str(broker.port), "-t", topic, "-s", *options, stdin=subprocess.PIPE
    )
    await done.communicate(payload)


async def test_shell_till_executes_no_message_and_leaves_no_process(
    broker: Mosquitto, tmp_path: Path
) -> None:
    command, base = shell(tmp_path), "facepay/v1/demo/terminal-1"
    Signer.generate().save(tmp_path / "till.key")
    key = Signer.generate()
    (tmp_path / "terminal.pem").write_bytes(key.public.pem())
    (tmp_path / "photo").write_bytes(b"a photo")
    settings = {
        "FACEPAY_TERMINAL_KEY": str(tmp_path / "terminal.pem"),
        "FACEPAY_MOSQUITTO_OPTIONS": f"-h 127.0.0.1 -p {broker.port}",
        "FACEPAY_TTL_MS": "60000",
    }
    till = await asyncio.create_subprocess_exec(
        *command,
        str(tmp_path / "photo"),
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    written, event = tmp_path / "written", f"{base}/verify/till-1/event"
    try:
        # one message with the line of another one, whose first word is an arithmetic expression
        line = b'{"event": "stage"}\nsite[$(touch${IFS}%s)] x/result {}' % os.fsencode(written)
        who = TerminalIdentity("demo", "terminal-1", "boot", "e")
        state = encode.state("degraded", who, None, key).replace(b"{", b"{\n", 1)
        refused = b'{"event": "refused", "request_id": null, "refusal": "busy\\nmatch/same_person"}'
        async with asyncio.timeout(120):
            while till.returncode is None:  # again until the till has subscribed
                await _published(broker, event, line)
                await _published(broker, f"{base}/state", state)
                await _published(broker, event, refused)
                await asyncio.sleep(0.5)
            assert till.stdout is not None
            assert (await till.stdout.read()).count(b"\n") == 1, "an unsigned event writes one line only"
            await asyncio.to_thread(_wait_for_end, till.pid)
        assert till.returncode == 1
        assert not written.exists()
    finally:
        if _is_alive(till.pid):
            os.killpg(till.pid, 9)


def _wait_for_end(group: int) -> None:
    until = time.monotonic() + 60
    while _is_alive(group):
        assert time.monotonic() < until, "the till has left processes"
        time.sleep(0.2)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
