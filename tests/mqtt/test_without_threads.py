"""A connection while the system allows no further thread (``TasksMax``, memory), and after that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from agent.config import MqttConfig
from agent.mqtt import connection
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text
from tests.brokers import Mosquitto

WAIT_S = 60
NO_THREAD = (BrokerProblem.UNREACHABLE, True, Text("errno.EAGAIN"))
Report = tuple[BrokerProblem, bool, str | Text]


class Threads:
    """Replaces ``Thread.start``: refuses the threads with a name in ``refused`` as CPython does."""

    def __init__(self, start: object) -> None:
        self.start, self.refused = start, set[str]()

    def start_or_refuse(self, thread: threading.Thread) -> None:
        if any(thread.name.startswith(each) for each in self.refused):
            raise RuntimeError("can't start new thread")
        self.start(thread)  # type: ignore[operator]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Threads]:
    made = Threads(threading.Thread.start)

    def start(thread: threading.Thread) -> None:
        made.start_or_refuse(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(connection, "RETRY_S", (0.05,))
    yield made


@pytest.mark.parametrize("refused", ["mqtt-connect", "paho-mqtt-client-"])
async def test_connection_reports_that_no_thread_starts_and_connects_later(
    refused: str, threads: Threads, broker: Mosquitto
) -> None:
    reports, ready = asyncio.Queue[Report](), asyncio.Event()
    options = ClientOptions(
        "name", [("a/b", 1)], lambda _: None, ready.set, on_problem=lambda *each: reports.put_nowait(each)
    )
    link = Connection(MqttConfig(port=broker.port), options)
    threads.refused.add(refused)
    await link.start()
    try:
        async with asyncio.timeout(WAIT_S):
            assert await reports.get() == NO_THREAD
            threads.refused.clear()
            await ready.wait()
            while (await reports.get())[1]:
                pass  # the same report of further attempts
    finally:
        await link.stop()


async def test_connection_ends_while_no_thread_starts_and_connects_later(
    threads: Threads, broker: Mosquitto
) -> None:
    """The end of a connection starts a thread, too: its failure must not end the attempts for ever."""
    reports, ready = asyncio.Queue[Report](), asyncio.Queue[None]()
    options = ClientOptions(
        "name",
        [("a/b", 1)],
        lambda _: None,
        lambda: ready.put_nowait(None),
        on_problem=lambda *each: reports.put_nowait(each),
    )
    link = Connection(MqttConfig(port=broker.port), options)
    await link.start()
    try:
        async with asyncio.timeout(WAIT_S):
            await ready.get()
            threads.refused.add("mqtt-")
            broker.stop()
            while await reports.get() != NO_THREAD:
                pass
            threads.refused.clear()
            broker.start()
            await ready.get()
    finally:
        await link.stop()
