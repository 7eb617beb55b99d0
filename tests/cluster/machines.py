"""Compare services as programs behind a real HAProxy with the shipped config, and clients under load."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.core.reasons import Reason
from agent.errors import CompareError
from tests.brokers import free_port
from tests.service.kit import client
from tests.service.pictures import photo
from tests.service.program import WAIT_S, Program, start, until_ready, write_config

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "haproxy" / "facepay.cfg"
HAPROXY = shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/bin:/bin")
MACHINES = 3
PROXY_TIMEOUT_S = 6
SHOT, ENROLLED = photo("obama_podium"), photo("obama_portrait")


@dataclass
class Machine:
    """One compare service. Each start uses the same port."""

    folder: Path
    port: int
    settings: dict[str, Any]
    starts: int = 0
    program: Program = field(init=False)

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = write_config(self.folder / "service.toml", **self.settings)
        config.write_text(config.read_text().replace("port = 0\n", f"port = {self.port}\n", 1))
        self.starts += 1
        self.program = until_ready(start(config, self.folder / f"log-{self.starts}"))

    def send(self, number: signal.Signals) -> None:
        self.program.process.send_signal(number)

    def ended(self) -> int:
        return self.program.process.wait(WAIT_S)


@contextlib.contextmanager
def cluster(folder: Path, **settings: Any) -> Iterator[tuple[list[Machine], str]]:
    """The machines, and the url of the proxy."""
    assert HAPROXY
    ports = free_ports(MACHINES + 1)
    settings = {"answer_within_ms": 1_000, "drain_ms": 1_500, **settings}
    machines = [Machine(folder / f"compare-{port}", port, settings) for port in ports[1:]]
    config = folder / "haproxy.cfg"
    config.write_text(shipped(ports[0], ports[1:]))
    proxy = None
    try:
        for machine in machines:
            machine.start()
        with (folder / "haproxy.log").open("wb") as log:
            proxy = subprocess.Popen([HAPROXY, "-f", str(config)], stdout=log, stderr=log)
        wait_until_listening(ports[0])
        yield machines, f"http://127.0.0.1:{ports[0]}/face/compare"
    finally:
        for process in (*(each.program.process for each in machines if hasattr(each, "program")), proxy):
            if process is not None:
                process.kill()
                process.wait(WAIT_S)


def shipped(port: int, machines: list[int]) -> str:
    """The config of the repository with other ports, and with time for a machine that runs other tests."""
    text = SHIPPED.read_text()
    for pattern, changed in (
        (r"^    bind 127\.0\.0\.1:\d+$", f"    bind 127.0.0.1:{port}"),
        (r"^    timeout server 1500ms$", f"    timeout server {PROXY_TIMEOUT_S}s"),
    ):
        text, count = re.subn(pattern, changed, text, flags=re.M)
        assert count == 1
    for number, each in enumerate(machines, 1):
        text, count = re.subn(rf"(server compare-{number}) 127\.0\.0\.1:\d+", rf"\1 127.0.0.1:{each}", text)
        assert count == 1
    return text


def wait_until_listening(port: int) -> None:
    until = time.monotonic() + WAIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=WAIT_S).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


def free_ports(count: int) -> list[int]:
    """Different ports outside the range of outgoing connections: a restart finds its port free."""
    found = set[int]()
    while len(found) < count:
        found.add(free_port())
    return list(found)


@dataclass
class Clients:
    """Clients of the agent's own kind, each with one comparison after the other."""

    url: str
    answers: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    @contextlib.asynccontextmanager
    async def running(self, count: int) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._ask()) for _ in range(count)]
        try:
            yield
        finally:
            self.stopped = True
            await asyncio.gather(*tasks)

    async def more(self, count: int) -> None:
        """Wait for ``count`` further answers."""
        goal = self.answers.total() + count
        async with asyncio.timeout(WAIT_S):
            while self.answers.total() < goal:  # noqa: ASYNC110 - the tasks count
                await asyncio.sleep(0.02)

    async def _ask(self) -> None:
        api = client(self.url)
        try:
            while not self.stopped:
                try:
                    answer = await api.compare(SHOT, ENROLLED, timeout_ms=30_000)
                    self.answers["same" if answer.similarity > 80 else "other"] += 1
                except CompareError as error:
                    self.answers["busy" if error.code == Reason.COMPARE_BUSY else repr(error)] += 1
                    await asyncio.sleep(0.1)
        finally:
            await api.close()
