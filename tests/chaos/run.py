"""The chaos run: ``python -m tests.chaos.run`` prints its zero-loss table (``make chaos``)."""

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
from tests.chaos.blows import Blow, Blows
from tests.chaos.tills import PatientTill
from tests.chaos.victim import NO_STORAGE, Point
from tests.mqtt.proxy import PausingProxy

TOPICS = Topics("chaos", "terminal-1")
POINTS: list[Point] = [point for point in Point if point is not Point.NONE]
DISK_BYTES = 4 * 1024 * 1024
RESTART_S = 2.0  # as the unit's RestartSec, while it cannot start
LONG = {Blow.BROKER: 6, Blow.CUT: 12, Blow.FLOOD: 5, Blow.PAUSE: 12, Blow.SMALL: 3}
KILL_WITHIN = 4  # requests until the fuse burns down


@dataclass(frozen=True)
class Plan:
    """How much of each."""

    requests: int
    kills_each: int
    blows: Mapping[Blow, int]
    disk_full: bool
    seed: int = 1


@dataclass
class Toll:
    """What was done to it."""

    kills: Counter[str] = field(default_factory=Counter)
    blows: Counter[Blow] = field(default_factory=Counter)
    hostile: int = 0
    disk: str = "not asked for"
    starts_without_disk: int = 0


class Chaos:
    """One run in one folder, from the first start to the last goodbye."""

    def __init__(self, folder: Path, plan: Plan, proxy: PausingProxy, broker: Mosquitto) -> None:
        self.folder, self.plan, self.proxy, self.broker = folder, plan, proxy, broker
        self.state = folder / "state"
        self.toll = Toll()
        self._random = random.Random(plan.seed)
        self.prefix = TOPICS.base
        self.victim: asyncio.subprocess.Process | None = None
        self._log = (folder / "agent.log").open("ab")

    def write_config(self) -> Path:
        (self.folder / "secret").write_bytes(b"unused")
        path = self.folder / "agent.toml"
        path.write_text(
            'profile = "demo"\nsite = "chaos"\nterminal = "terminal-1"\ninline_reference = true\n'
            '[camera]\nsource = "nobody"\n'
            f'[compare]\nappid = "1"\nsecret_id = "x"\nsecret_key_file = "{self.folder / "secret"}"\n'
            f"[mqtt]\nport = {self.proxy.port}\nkeepalive_s = 5\nrequests_per_minute = 6000\n"
            "[guard]\ncalls_per_minute = 0\ncalls_per_day = 0\n"
            f'[storage]\ndirectory = "{self.state}"\n[verification]\nhold_ms = 30\n'
        )
        return path

    async def keep_killing(self, done: asyncio.Event) -> None:
        """Restart it whenever it dies; once the plan is fulfilled it may live."""
        drawn = [(point, self._random.randint(1, KILL_WITHIN)) for point in POINTS]
        fuses: list[tuple[Point, int]] = [*drawn] * self.plan.kills_each
        self._random.shuffle(fuses)
        while not done.is_set():
            point, left = fuses.pop() if fuses else (Point.NONE, 0)
            code = await self._live_until_death(point, left, done)
            if code == -signal.SIGKILL:
                self.toll.kills[point] += 1
            elif code == NO_STORAGE and self.toll.disk == "filled":
                self.toll.starts_without_disk += 1
                fuses += [(point, left)] if left else []
                await asyncio.sleep(RESTART_S)
            elif not done.is_set():
                raise AssertionError(f"the agent ended by itself with {code}: see {self.folder}/agent.log")

    async def _live_until_death(self, point: Point, left: int, done: asyncio.Event) -> int:
        command = [sys.executable, "-m", "tests.chaos.victim", str(self.folder / "agent.toml")]
        victim = await asyncio.create_subprocess_exec(*command, point, str(left), stderr=self._log)
        self.victim = victim
        ending: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(victim.wait()),
            asyncio.ensure_future(done.wait()),
        ]
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        if victim.returncode is None:
            victim.terminate()
        ending[1].cancel()
        return await asyncio.wait_for(victim.wait(), 20)

    async def fill_the_disk(self, done: asyncio.Event) -> None:
        """For a while nothing can be stored; afterwards it must go on by itself."""
        for _ in range(3):
            await asyncio.sleep(4.0)
            if done.is_set():
                return
            filler = self.state / "filler"
            self.toll.disk = "filled"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            await asyncio.sleep(1.5)
            filler.unlink()

    def close(self) -> None:
        if self.victim is not None and self.victim.returncode is None:
            self.victim.kill()
        self._log.close()


@contextlib.contextmanager
def small_disk(directory: Path, toll: Toll, wanted: bool) -> Iterator[bool]:
    """A tmpfs of 4 MiB on ``directory`` where we may mount one; else the reason is in the toll."""
    directory.mkdir(mode=0o700)
    mounted = False
    if wanted:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        mounted = done.returncode == 0
        toll.disk = "mounted" if mounted else f"not filled: {done.stderr.strip()}"
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(directory)], check=True)


async def run(folder: Path, plan: Plan) -> tuple[Toll, Findings]:
    """The whole run; what was done, and what was found."""
    broker = Mosquitto(folder).start()
    proxy = await PausingProxy.start(broker.port)
    chaos = Chaos(folder, plan, proxy, broker)
    with small_disk(chaos.state, chaos.toll, plan.disk_full) as mounted:
        try:
            chaos.write_config()
            key = Signer.load_or_create(chaos.state).public
            tills = [PatientTill(proxy.port, TOPICS, f"till-{number}", key) for number in (1, 2)]
            await _play(chaos, tills, mounted)
            return chaos.toll, audit(chaos.folder, tills)
        finally:
            chaos.close()
            await proxy.stop()
            broker.stop()


async def _play(chaos: Chaos, tills: list[PatientTill], mounted: bool) -> None:
    done, total = asyncio.Event(), len(POINTS) * chaos.plan.kills_each
    for till in tills:
        await till.link.start()

    async def ask(till: PatientTill) -> None:
        asked = 0
        while asked < chaos.plan.requests // len(tills) or chaos.toll.kills.total() < total:
            await till.ask_until_ended()
            asked += 1

    try:
        async with asyncio.TaskGroup() as group:
            blows: list[Coroutine[Any, Any, None]] = [
                chaos.keep_killing(done),
                Blows(chaos, random.Random(chaos.plan.seed)).run(done),
            ]
            blows += [chaos.fill_the_disk(done)] if mounted else []
            for blow in blows:
                group.create_task(blow)
            asking = [group.create_task(ask(till)) for till in tills]
            await asyncio.gather(*asking)
            await asyncio.sleep(3.0)  # the last acknowledgements and re-deliveries
            done.set()
    finally:
        for till in tills:
            await till.link.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--kills-each", type=int, default=10, help="kill -9 at each of the six points")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    plan = Plan(chosen.requests, chosen.kills_each, LONG, disk_full=True, seed=chosen.seed)
    logging.getLogger("agent").setLevel(logging.CRITICAL)  # losing links is the point here
    folder = Path(tempfile.mkdtemp(prefix="facepay-chaos-"))
    toll, findings = asyncio.run(run(folder, plan))
    print(findings.table(toll))
    if findings.clean:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}")
    return 0 if findings.clean else 1


if __name__ == "__main__":
    sys.exit(main())
