"""A till asks for a stored result again: who publishes it, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from agent.core.ports import StoredResult
from agent.errors import TillError
from agent.messages.topics import Topics
from agent.mqtt.publisher import PUBLISH_CUT
from agent.till.delivery import ResultSender
from agent.till.delivery_rules import CUTS_MAX

STORED = StoredResult("till-1", "r-1", "id", 1, b"{}", False, deadline_ms=10_000)


class StoppedClock:
    at_ms = 1_000

    def now_ms(self) -> int:
        return self.at_ms

    def unix_ms(self) -> int:
        return self.at_ms


class EmptyOutbox:
    async def open_results(self) -> list[StoredResult]:
        return []

    async def close_result(self, till: str, result_id: str) -> bool:
        return True


class SlowBroker:
    """Sends no PUBACK until ``answers`` is set."""

    is_connected = True

    def __init__(self) -> None:
        self.published = asyncio.Queue[Any]()
        self.answers = asyncio.Event()

    async def wait_until_free(self) -> None: ...

    async def publish(self, message: Any, qos: int = 1) -> bool:
        self.published.put_nowait(message)
        await self.answers.wait()
        return True


class CuttingBroker:
    """Ends the connection after each publish."""

    is_connected = True
    published = 0

    async def wait_until_free(self) -> None: ...

    async def publish(self, message: Any, qos: int = 1) -> bool:
        self.published += 1
        raise TillError("cut", code=PUBLISH_CUT)


def sender_of(broker: Any, clock: StoppedClock) -> ResultSender:
    outbox: Any = EmptyOutbox()
    return ResultSender(broker, outbox, Topics("s", "t"), clock, ack="till", margin_ms=250)


async def test_deliver_again_returns_without_a_puback_and_run_publishes() -> None:
    broker = SlowBroker()
    sender = sender_of(broker, StoppedClock())
    async with asyncio.timeout(60):
        await sender.deliver(STORED, again=True)
        assert broker.published.empty() and sender.open_count == 1
        running = asyncio.create_task(sender.run())
        await broker.published.get()
        broker.answers.set()
        while sender._sending:  # noqa: ASYNC110 - no event for the end of a publish
            await asyncio.sleep(0)
        await sender.deliver(STORED, again=True)  # due at once, not after the pause: the clock stands still
        await broker.published.get()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_repeats_of_a_till_do_not_reset_the_pause_of_a_result_that_cuts_the_connection() -> None:
    broker, clock = CuttingBroker(), StoppedClock()
    sender = sender_of(broker, clock)
    await sender.deliver(STORED)
    for _ in range(20):  # the connection returns, and the till sends its request again
        sender.make_all_due()
        await sender.deliver(STORED)
    assert broker.published == CUTS_MAX


async def test_request_during_a_publish_makes_the_result_due_again() -> None:
    """The till that asks can have subscribed after the broker received the result."""
    broker, clock = SlowBroker(), StoppedClock()
    sender = sender_of(broker, clock)
    async with asyncio.timeout(60):
        running = asyncio.create_task(sender.run())
        publishing = asyncio.create_task(sender.deliver(STORED))
        await broker.published.get()
        await sender.deliver(STORED, again=True)
        broker.answers.set()
        await publishing
        await broker.published.get()  # at once: the clock stands still
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class BusyBroker(SlowBroker):
    """Accepts no publish until ``free`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()

    async def wait_until_free(self) -> None:
        await self.free.wait()


async def test_match_that_is_acknowledged_while_it_waits_is_not_replaced_by_its_expiry() -> None:
    broker, clock = BusyBroker(), StoppedClock()
    sender = sender_of(broker, clock)
    match = replace(STORED, is_match=True, deadline_ms=clock.at_ms)
    waiting = asyncio.create_task(sender.deliver(match))
    await asyncio.sleep(0)
    await sender.record_ack(match.till, match.result_id)
    broker.answers.set()
    broker.free.set()
    await waiting
    assert broker.published.empty() and sender.withheld == 0 and sender.open_count == 0


async def test_acknowledgement_of_another_till_does_not_end_the_delivery() -> None:
    sender = sender_of(SlowBroker(), StoppedClock())
    await sender.deliver(STORED, again=True)
    await sender.record_ack("till-2", STORED.result_id)
    assert sender.open_count == 1
    await sender.record_ack(STORED.till, STORED.result_id)
    assert sender.open_count == 0
