"""The chaos run: ``python -m tests.chaos.run`` prints the audit table (``make chaos``)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.messages.signing import Signer
from agent.messages.topics import Topics
from tests.brokers import Mosquitto
from tests.chaos.audit import Findings, audit
from tests.chaos.disturbances import Disturbance, Disturbances
from tests.chaos.tills import PatientTill
from tests.chaos.victim import NO_STORAGE, KillPoint
from tests.mqtt.proxy import PausingProxy

TOPICS = Topics("chaos", "terminal-1")
KILL_POINTS: list[KillPoint] = [point for point in KillPoint if point is not KillPoint.NONE]
DISK_BYTES = 4 * 1024 * 1024
RESTART_S = 2.0  # RestartSec of the systemd unit
LONG_RUN = {
    Disturbance.BROKER: 6,
    Disturbance.CUT: 12,
    Disturbance.FLOOD: 5,
    Disturbance.PAUSE: 12,
    Disturbance.SMALL: 3,
}
KILL_WITHIN = 4  # at most this number of requests before a kill


@dataclass(frozen=True)
class Plan:
    """The number of requests, kills and disturbances, and the length of a flood."""

    requests: int
    kills_each: int
    disturbances: Mapping[Disturbance, int]
    disk_full: bool
    seed: int = 1
    flood_s: int = 4


@dataclass
class RunLog:
    """The kills and disturbances that took place."""

    kills: Counter[str] = field(default_factory=Counter)
    disturbances: Counter[Disturbance] = field(default_factory=Counter)
    hostile: int = 0
    disk: str = "not requested"
    starts_without_disk: int = 0


class Chaos:
    """One run in one folder."""

    def __init__(self, folder: Path, plan: Plan, proxy: PausingProxy, broker: Mosquitto) -> None:
        self.folder, self.plan, self.proxy, self.broker = folder, plan, proxy, broker
        self.state = folder / "state"
        self.run_log = RunLog()
        self._random = random.Random(plan.seed)
        self.prefix = TOPICS.base
        self.agent: asyncio.subprocess.Process | None = None
        self._log = (folder / "agent.log").open("ab")

    def write_config(self) -> Path:
        (self.folder / "secret").write_bytes(b"unused")
        path = self.folder / "agent.toml"
        path.write_text(
            'profile = "demo"\nsite = "chaos"\nterminal = "terminal-1"\ninline_reference = true\n'
            '[camera]\nsource = "empty"\n'
            f'[compare]\nappid = "1"\nsecret_id = "x"\nsecret_key_file = "{self.folder / "secret"}"\n'
            f"[mqtt]\nport = {self.proxy.port}\nkeepalive_s = 5\nrequests_per_minute = 6000\n"
            "[guard]\ncalls_per_minute = 0\ncalls_per_day = 0\n"
            f'[storage]\ndirectory = "{self.state}"\n[verification]\nhold_ms = 30\n'
        )
        return path

    async def kill_repeatedly(self, done: asyncio.Event) -> None:
        """Start the agent again after each kill; after the last planned kill the agent keeps running."""
        choices = [(point, self._random.randint(1, KILL_WITHIN)) for point in KILL_POINTS]
        kills: list[tuple[KillPoint, int]] = [*choices] * self.plan.kills_each
        self._random.shuffle(kills)
        while not done.is_set():
            point, countdown = kills.pop() if kills else (KillPoint.NONE, 0)
            code = await self._run_until_killed(point, countdown, done)
            if code == -signal.SIGKILL:
                self.run_log.kills[point] += 1
            elif code == NO_STORAGE and self.run_log.disk == "filled":
                self.run_log.starts_without_disk += 1
                kills += [(point, countdown)] if countdown else []
                await asyncio.sleep(RESTART_S)
            elif not done.is_set():
                raise AssertionError(f"the agent ended by itself with {code}: see {self.folder}/agent.log")

    async def _run_until_killed(self, point: KillPoint, countdown: int, done: asyncio.Event) -> int:
        command = [sys.executable, "-m", "tests.chaos.victim", str(self.folder / "agent.toml")]
        agent = await asyncio.create_subprocess_exec(*command, point, str(countdown), stderr=self._log)
        self.agent = agent
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(agent.wait()),
            asyncio.ensure_future(done.wait()),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if agent.returncode is None:
            agent.terminate()
        waits[1].cancel()
        return await asyncio.wait_for(agent.wait(), 20)

    async def fill_the_disk(self, done: asyncio.Event) -> None:
        """Fill the disk for 1.5 s, up to three times; the agent must recover without help."""
        for _ in range(3):
            await asyncio.sleep(4.0)
            if done.is_set():
                return
            filler = self.state / "filler"
            self.run_log.disk = "filled"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            await asyncio.sleep(1.5)
            filler.unlink()

    def close(self) -> None:
        if self.agent is not None and self.agent.returncode is None:
            self.agent.kill()
        self._log.close()


@contextlib.contextmanager
def small_disk(directory: Path, run_log: RunLog, enabled: bool) -> Iterator[bool]:
    """A tmpfs of 4 MiB on ``directory`` if mounting is allowed; else the reason is in ``run_log.disk``."""
    directory.mkdir(mode=0o700)
    mounted = False
    if enabled:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        mounted = done.returncode == 0
        run_log.disk = "mounted" if mounted else f"not filled: {done.stderr.strip()}"
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(directory)], check=True)


async def run(folder: Path, plan: Plan) -> tuple[RunLog, Findings]:
    """The complete run: the log of kills and disturbances, and the findings."""
    broker = Mosquitto(folder).start()
    proxy = await PausingProxy.start(broker.port)
    chaos = Chaos(folder, plan, proxy, broker)
    with small_disk(chaos.state, chaos.run_log, plan.disk_full) as mounted:
        try:
            chaos.write_config()
            key = Signer.load_or_create(chaos.state).public
            tills = [PatientTill(proxy.port, TOPICS, f"till-{number}", key) for number in (1, 2)]
            await _play(chaos, tills, mounted)
            return chaos.run_log, audit(chaos.folder, tills)
        finally:
            chaos.close()
            await proxy.stop()
            broker.stop()


async def _play(chaos: Chaos, tills: list[PatientTill], mounted: bool) -> None:
    done, total = asyncio.Event(), len(KILL_POINTS) * chaos.plan.kills_each
    for till in tills:
        await till.connection.start()

    async def send_requests(till: PatientTill) -> None:
        count = 0
        while count < chaos.plan.requests // len(tills) or chaos.run_log.kills.total() < total:
            await till.request_until_ended()
            count += 1

    try:
        async with asyncio.TaskGroup() as group:
            disturbances: list[Coroutine[Any, Any, None]] = [
                chaos.kill_repeatedly(done),
                Disturbances(chaos, random.Random(chaos.plan.seed)).run(done),
            ]
            disturbances += [chaos.fill_the_disk(done)] if mounted else []
            for disturbance in disturbances:
                group.create_task(disturbance)
            requests = [group.create_task(send_requests(till)) for till in tills]
            await asyncio.gather(*requests)
            await asyncio.sleep(3.0)  # the last acknowledgements and re-deliveries
            done.set()
    finally:
        for till in tills:
            await till.connection.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--kills-each", type=int, default=10, help="kill -9 at each of the six points")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plan = Plan(options.requests, options.kills_each, LONG_RUN, disk_full=True, seed=options.seed)
    logging.getLogger("agent").setLevel(logging.CRITICAL)  # lost connections are expected
    folder = Path(tempfile.mkdtemp(prefix="facepay-chaos-"))
    run_log, findings = asyncio.run(run(folder, plan))
    print(findings.table(run_log))
    if findings.clean:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}")
    return 0 if findings.clean else 1


if __name__ == "__main__":
    sys.exit(main())
