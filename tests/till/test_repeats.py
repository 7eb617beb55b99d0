"""A till asks for a stored result again: who publishes it, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal

import pytest

from agent.core.ports import StoredResult
from agent.errors import StorageError, TillError
from agent.health.till_meter import COUNT_MIN, SPAN_MS
from agent.messages.topics import Topics
from agent.mqtt.publisher import PUBLISH_CUT
from agent.till import delivery
from agent.till.acknowledgements import ACCEPTED_MIN, ReportUnacknowledged
from agent.till.delivery import ResultSender
from agent.till.delivery_rules import CUTS_MAX

STORED = StoredResult("till-1", "r-1", "id", 1, b"{}", False, deadline_ms=10_000)


class StoppedClock:
    at_ms = 1_000

    def now_ms(self) -> int:
        return self.at_ms

    def unix_ms(self) -> int:
        return self.at_ms


class FakeOutbox:
    """Its disk accepts no write while ``fails``. ``rows``: the open results."""

    def __init__(self, *rows: StoredResult) -> None:
        self.rows = {stored.result_id: stored for stored in rows}
        self.fails = False

    async def open_results(self) -> list[StoredResult]:
        return list(self.rows.values())

    async def close_result(self, till: str, result_id: str) -> bool:
        await asyncio.sleep(0)
        if self.fails:
            raise StorageError("the disk accepts no write")
        return self.rows.pop(result_id, None) is not None


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


def sender_of(
    broker: Any,
    clock: StoppedClock,
    outbox: Any = None,
    ack: Literal["till", "broker"] = "till",
    report: ReportUnacknowledged = lambda *_: None,
) -> ResultSender:
    outbox, topics = outbox or FakeOutbox(), Topics("s", "t")
    return ResultSender(broker, outbox, topics, clock, ack=ack, margin_ms=250, on_unacknowledged=report)


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


MATCH = replace(STORED, is_match=True)


@pytest.mark.parametrize("ack", ["broker", "till"])
async def test_result_whose_acknowledgement_is_not_stored_is_not_published_again(
    ack: Literal["broker", "till"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The till has the match: its repeats, and ``result_expired`` after its deadline, would contradict it."""
    monkeypatch.setattr(delivery, "TICK_S", 0)
    broker, clock, outbox = SlowBroker(), StoppedClock(), FakeOutbox(MATCH)
    broker.answers.set()
    outbox.fails = True
    sender = sender_of(broker, clock, outbox, ack)
    running = asyncio.create_task(sender.run())
    await broker.published.get()
    while sender._sending:  # noqa: ASYNC110 - no event for the end of a publish
        await asyncio.sleep(0)
    if ack == "till":
        with pytest.raises(StorageError):
            await sender.record_ack(MATCH.till, MATCH.result_id)
    assert sender.open_count == 0
    clock.at_ms = MATCH.deadline_ms
    for _ in range(50):
        await asyncio.sleep(0)
    assert broker.published.empty() and sender.withheld == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_acknowledgement_of_a_result_of_an_earlier_process_ends_its_delivery() -> None:
    outbox = FakeOutbox(MATCH)
    sender = sender_of(SlowBroker(), StoppedClock(), outbox)
    acknowledging = asyncio.create_task(sender.record_ack(MATCH.till, MATCH.result_id))
    await asyncio.sleep(0)
    await sender._load_open_results()  # during the write
    await acknowledging
    assert sender.open_count == 0 and not outbox.rows


class AnsweringBroker(SlowBroker):
    """Answers each publish at once: it accepts the publish, or refuses it with this code."""

    def __init__(self, refusal: str | None) -> None:
        super().__init__()
        self.refusal = refusal

    async def publish(self, message: Any, qos: int = 1) -> bool:
        if self.refusal is not None:
            raise TillError("refused", code=self.refusal)
        return False  # no subscriber


@pytest.mark.parametrize(
    ("refusal", "acknowledged", "is_reported"),
    [
        pytest.param(None, None, True, id="the till has no subscription and acknowledges nothing"),
        pytest.param(None, "r-1", True, id="the till acknowledges another id"),
        pytest.param(None, "id-3", False, id="the till acknowledges a result"),
        pytest.param("publish_refused", None, False, id="the broker refuses the results"),
        pytest.param("packet_too_large", None, False, id="the broker refuses long packets"),
        pytest.param("link_down", None, False, id="no publish can be sent"),
        pytest.param(PUBLISH_CUT, None, False, id="no PUBACK"),
    ],
)
async def test_till_is_reported_only_if_accepted_results_stay_open(
    monkeypatch: pytest.MonkeyPatch, refusal: str | None, acknowledged: str | None, is_reported: bool
) -> None:
    monkeypatch.setattr(delivery, "TICK_S", 0)
    clock, reports = StoppedClock(), list[bool]()
    broker = AnsweringBroker(refusal)
    sender = sender_of(broker, clock, report=lambda active, _tills: reports.append(active))
    running = asyncio.create_task(sender.run())
    for number in range(COUNT_MIN + 1):
        await sender.deliver(replace(STORED, result_id=f"id-{number}"))
        for _ in range(2 * ACCEPTED_MIN):
            clock.at_ms += SPAN_MS
            for _ in range(20):
                await asyncio.sleep(0)
        if acknowledged is not None:
            await sender.record_ack(STORED.till, acknowledged)
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (reports[-1:] == [True]) is is_reported
