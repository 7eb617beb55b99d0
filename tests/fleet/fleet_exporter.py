"""A running `facepay fleet exporter` and a simulated fleet of terminals, for tests."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx

from agent.config import MqttConfig
from agent.kits.load.connections import LoadConnection, LoadConnections
from agent.mqtt.paho_client import Message
from tests.brokers import BUSY_S, Mosquitto
from tests.fleet.fleet_messages import health_of, state_of


@contextmanager
def exporter(broker_port: int, *words: str, listen: int = 0, code: str = "") -> Iterator[str]:
    """The url of the metrics of a running exporter; its exit code is checked at the end.

    ``listen``: port of the metrics. ``code``: Python that runs before the command.
    """
    program = f"{code}\nimport sys\nfrom agent.cli import main\nsys.argv[0] = 'facepay'\nmain()"
    options = ["--listen", f"127.0.0.1:{listen}", "--port", str(broker_port), *words]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "fleet", "exporter", *options], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    reader: threading.Thread | None = None
    try:
        url = ""
        for line in process.stderr:
            if found := re.search(r"ready on (http://\S+)", line):
                url = found[1]
                break
        assert url, "the exporter ended"
        reader = threading.Thread(target=process.stderr.read)
        reader.start()  # a full pipe would stop the exporter
        yield url
    finally:
        process.terminate()
        ended = process.wait(BUSY_S)
        if reader is not None:
            reader.join()
        process.stderr.close()
    assert ended == 0


async def scraped(http: httpx.AsyncClient, url: str) -> str:
    answer = await http.get(url, timeout=BUSY_S)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(
        "text/plain; version=0.0.4"
    )
    return answer.text


async def scraped_with(http: httpx.AsyncClient, url: str, wanted: str) -> str:
    """The first exposition that contains a text."""
    async with asyncio.timeout(BUSY_S):
        while wanted not in (text := await scraped(http, url)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    return text


def number(text: str, series: str) -> float:
    """The number of one series, named as in the text."""
    (found,) = re.findall(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found)


@asynccontextmanager
async def publisher(broker: Mosquitto) -> AsyncIterator[LoadConnection]:
    """One connection that may publish for every terminal."""
    clients = LoadConnections(MqttConfig(port=broker.port))
    try:
        yield await clients.join("publisher", [], lambda _message: None)
    finally:
        await clients.close()


class SimulatedFleet:
    """Terminals that publish their state once and a health in each period, evenly spread."""

    def __init__(self, client: LoadConnection, size: int, period_s: float = 60.0) -> None:
        self.names = [f"terminal-{number}" for number in range(size)]
        self.silent = set[str]()
        self.facts = dict[str, dict[str, object]]()  # of the health of single terminals
        self._client, self._period_s = client, period_s
        self._uptime_s = 0.0

    def site(self, name: str) -> str:
        return f"shop-{int(name.rpartition('-')[2]) // 10}"

    def publish(self, topic: str, payload: bytes, *, retained: bool = True) -> None:
        self._client.publish(Message(topic, payload, retained=retained))

    def state(self, name: str, status: str = "online", **fields: object) -> None:
        self.publish(*state_of(name, status, self.site(name), **fields))

    def health(self, name: str, **fields: object) -> None:
        facts = {"uptime_s": int(self._uptime_s)} | self.facts.get(name, {}) | fields
        self._client.publish(Message(*health_of(name, self.site(name), **facts)), qos=0)

    async def states(self) -> None:
        """Publish the state of each terminal."""
        for place, name in enumerate(self.names):
            self.state(name)
            if place % 100 == 0:
                await asyncio.sleep(0.01)

    async def run(self) -> None:
        """Publish states, then health until cancelled."""
        await self.states()
        while True:
            for name in self.names:
                if name not in self.silent:
                    self.health(name)
                pause_s = self._period_s / len(self.names)
                self._uptime_s += pause_s
                await asyncio.sleep(pause_s)
