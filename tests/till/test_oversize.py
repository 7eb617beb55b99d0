"""A result that the broker does not accept is paused; all other results are delivered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.core.ports import StoredResult
from agent.mqtt import connection as connection_module
from agent.till.delivery_rules import CUTS_MAX, DeliveryStep, PublishHistory, next_step
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.mqtt.scripted import Script, connack, puback, scripted
from tests.till.test_both_sides import raw_till, terminal

pytestmark = pytest.mark.forged  # the payloads are no valid results

LARGE, SMALL = b"L" * 3_000, b"s" * 100


def stored(name: str, payload: bytes) -> StoredResult:
    return StoredResult(
        till="till-1",
        request_id=name,
        result_id=name,
        seq=1,
        payload=payload,
        is_match=False,
        deadline_ms=10**12,
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.02)


async def test_result_that_ends_each_connection_is_paused_and_others_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some brokers cut the connection without a reason code for a packet above their maximum."""
    monkeypatch.setattr(connection_module, "RETRY_S", (0.05,))
    received = Counter[int]()

    def answer(topic: str, payload: bytes, mid: int) -> bytes | None:
        if topic.endswith("/result"):
            received[len(payload) > 2_000] += 1
        return None if len(payload) > 2_000 else puback(mid)

    script = Script(on_publish=answer)
    async with scripted(script) as port, terminal(port, tmp_path, ack="broker") as running:
        await until(lambda: running.till.connection.is_connected)
        await running.till.result_sender.deliver(stored("large", LARGE))
        await running.till.result_sender.deliver(stored("small", SMALL))
        await until(lambda: running.till.result_sender.open_count == 1)
        await until(lambda: received[True] >= CUTS_MAX)
        before = script.connections
        await asyncio.sleep(1.0)
        assert script.connections - before <= 2, "the pause grows, so the connection is cut rarely"


async def test_result_over_the_announced_limit_is_never_sent_and_others_arrive(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, "max_packet_size 2000").start()
    async with terminal(broker.port, tmp_path / "state") as running, raw_till(broker.port) as till:
        await running.till.result_sender.deliver(stored("large", LARGE))
        await running.till.result_sender.deliver(stored("small", SMALL))
        assert (await till.next("result")).payload == SMALL
        assert running.till.connection.is_connected and running.till.result_sender.open_count == 2
        sent = running.till.result_sender._open["large"][1].sent
        assert sent >= 1, "tried once, waits for its pause"
    broker.stop()


def test_tries_second_cut_in_a_row_keeps_its_pause_through_a_reconnect() -> None:
    history = PublishHistory(0)
    large = stored("large", LARGE)
    for cuts in range(1, 8):
        history = history.after_publish(1_000, cut=True)
        again = next_step(large, history.after_reconnect(), 1_001, 250)
        assert again is (DeliveryStep.SEND if cuts < CUTS_MAX else DeliveryStep.WAIT)


def test_tries_other_ends_make_a_reconnect_due_at_once() -> None:
    history = PublishHistory(0).after_publish(1_000, cut=True).after_publish(2_000)
    assert history.cuts == 0
    assert next_step(stored("small", SMALL), history.after_reconnect(), 2_001, 250) is DeliveryStep.SEND


async def test_match_that_waits_for_the_receive_maximum_is_not_sent_late(tmp_path: Path) -> None:
    """Its time is checked when there is room to send it, not before."""
    held, matches, events = list[int](), list[str](), asyncio.Event()

    def answer(topic: str, payload: bytes, mid: int) -> bytes | None:
        if payload.endswith(SMALL):
            held.append(mid)
            return b""
        matches.extend([topic] * payload.endswith(b"match"))
        if topic.endswith("/event"):
            events.set()
        return puback(mid)

    receive_maximum_1 = connack(0, b"\x21\x00\x01")
    async with (
        scripted(Script(receive_maximum_1, on_publish=answer)) as port,
        terminal(port, tmp_path) as side,
    ):
        await until(lambda: side.till.connection.is_connected)
        other = asyncio.create_task(side.till.result_sender.deliver(stored("other", SMALL)))
        await until(lambda: bool(held))
        late = replace(stored("late", b"match"), is_match=True, deadline_ms=RealClock().now_ms() + 600)
        delivering = asyncio.create_task(side.till.result_sender.deliver(late))
        await asyncio.sleep(1.0)
        client = side.till.connection._client
        assert client is not None, "the broker owes one answer for less than 5 s"
        side.till.connection.on_puback(client, held[0], ReasonCode(PacketTypes.PUBACK, identifier=0), None)
        await asyncio.wait_for(events.wait(), 60)
        await asyncio.gather(delivering, other)
        assert matches == []
