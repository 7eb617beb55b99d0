"""Floods are dropped before decoding, in bounded memory, while other tills are served."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agent.core.ports import RequestReceived
from agent.messages.decode import DecodeRules
from agent.messages.keyring import Keyring
from agent.messages.topics import ACK, CANCEL, REQUEST, Topics
from agent.mqtt.paho_client import Message
from agent.tasks import Background
from agent.till import rate_limits
from agent.till.inbound import SENDER_QUEUE_MAX, SENDERS_MAX, Inbox, TillMessages
from agent.till.rate_limits import (
    ANSWERS_BURST,
    BURST,
    NEW_BURST,
    NEW_PER_S,
    PER_S_MIN,
    TILLS_MAX,
    TillRateLimits,
)
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.messages.payloads import PHOTO
from tests.till.test_both_sides import TOPICS, raw_till, request_bytes, terminal, till_client

FLOOD = 5_000
# Of the test with a broker. A busy machine reads 1 000 messages a second. Above its rate the broker
# drops messages, so no limit of the terminal matters. The chaos stage sends 5 000 a second.
FLOOD_PER_S = 1_000


class Time:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def new_limits(*trusted: str, per_minute: int = 120) -> tuple[TillRateLimits, Time]:
    time = Time()
    return TillRateLimits(Topics("shop", "terminal-1"), time, per_minute, lambda till: till in trusted), time


def admitted(limits: TillRateLimits, till: str, kind: str, count: int) -> int:
    return sum(limits.admits(TOPICS.verify(till, kind)) for _ in range(count))


def test_limits_flood_of_one_till_passes_its_burst_only() -> None:
    limits, time = new_limits()
    assert admitted(limits, "junk", REQUEST, FLOOD) == BURST
    assert limits.dropped == FLOOD - BURST
    time.now_s = 2.0
    assert admitted(limits, "junk", REQUEST, FLOOD) == 2 * PER_S_MIN


@pytest.mark.parametrize("kind", [REQUEST, CANCEL, ACK])
def test_limits_all_kinds_share_one_bucket_of_the_till(kind: str) -> None:
    limits, _ = new_limits()
    admitted(limits, "junk", kind, FLOOD)
    assert [admitted(limits, "junk", each, 1) for each in (REQUEST, CANCEL, ACK)] == [0, 0, 0]


def test_limits_flood_of_one_till_leaves_others_their_share() -> None:
    limits, _ = new_limits()
    admitted(limits, "junk", REQUEST, FLOOD)
    assert admitted(limits, "other", REQUEST, 5) == 5


def test_limits_invented_ids_share_one_bucket() -> None:
    limits, time = new_limits()
    assert sum(admitted(limits, f"junk-{each}", REQUEST, 1) for each in range(FLOOD)) == NEW_BURST
    time.now_s = 1.0
    assert sum(admitted(limits, f"more-{each}", REQUEST, 1) for each in range(FLOOD)) == NEW_PER_S


@pytest.mark.parametrize("how", ["served", "trusted"])
def test_limits_known_till_is_admitted_among_invented_ids(how: str) -> None:
    limits, _ = new_limits(*(["other"] if how == "trusted" else []))
    if how == "served":
        assert admitted(limits, "other", REQUEST, 1) == 1
        limits.mark_served("other")
    for each in range(FLOOD):
        admitted(limits, f"junk-{each}", REQUEST, 1)
    assert admitted(limits, "other", REQUEST, 5) == 5
    assert limits.is_known("other") and not limits.is_known("junk-1")


async def test_readable_requests_of_invented_ids_leave_a_served_till_its_place() -> None:
    """As one site certificate without till keys could send them: each id new, each request well-formed."""
    limits, time = new_limits()
    background = Background()
    rules = DecodeRules(98_304, 10_000)

    async def close(_till: str, _result_id: str) -> None: ...

    messages = TillMessages(rules, RealClock(), limits, background, close)
    limits.mark_served("till-1")
    for number in range(TILLS_MAX * 4):
        till, time.now_s = f"junk-{number}", number / 100
        if limits.admits(TOPICS.verify(till, REQUEST)):
            messages.handle(till, REQUEST, Message(TOPICS.verify(till, REQUEST), request_bytes(till=till)))
    assert limits.is_known("till-1") and admitted(limits, "till-1", REQUEST, 5) == 5
    messages.handle("till-1", REQUEST, Message(TOPICS.verify("till-1", REQUEST), request_bytes()))
    waiting = [await messages.inbox.get() for _ in range(2)]
    assert "till-1" in {each.request.till for each in waiting if isinstance(each, RequestReceived)}
    await background.close()


def test_limits_remembers_a_bounded_number_of_tills() -> None:
    limits, _ = new_limits()
    for each in range(TILLS_MAX * 4):
        limits.admits(TOPICS.verify(f"till-{each}", REQUEST))
        limits.admits_refusal(f"till-{each}")
        limits.admits_state_copy(f"till-{each}")
        limits.mark_served(f"till-{each}")
    for table in (limits._known, limits._new, limits._refusals._each, limits._state_copies._each):
        assert len(table._buckets) <= TILLS_MAX


def test_limits_refusals_are_limited_for_one_till_and_for_all() -> None:
    limits, _ = new_limits()
    assert sum(limits.admits_refusal("junk") for _ in range(FLOOD)) == ANSWERS_BURST
    others = sum(limits.admits_refusal(f"junk-{each}") for each in range(FLOOD))
    assert others == rate_limits.ALL_ANSWERS_BURST - ANSWERS_BURST


def test_limits_own_state_and_operators_are_limited_apart_from_tills() -> None:
    limits, _ = new_limits()
    assert sum(limits.admits(TOPICS.state) for _ in range(FLOOD)) == rate_limits.OTHER_BURST
    topics = [TOPICS.diag(f"ops-{each}", REQUEST) for each in range(FLOOD)]
    assert sum(map(limits.admits, topics)) == rate_limits.OTHER_BURST
    assert admitted(limits, "other", REQUEST, 1) == 1


def test_limits_configured_rate_of_requests_fits_in() -> None:
    limits, time = new_limits(per_minute=6_000)
    admitted(limits, "busy", REQUEST, FLOOD)
    time.now_s = 0.1
    assert admitted(limits, "busy", REQUEST, FLOOD) >= 10 * 3  # with an ack and a repeat for each request


async def test_inbox_serves_senders_in_drain() -> None:
    inbox: Inbox[str] = Inbox()
    for each in range(SENDER_QUEUE_MAX * 2):
        inbox.put("loud", f"loud-{each}")
    assert inbox.put("other", "request")
    assert inbox.dropped == SENDER_QUEUE_MAX
    assert [await inbox.get() for _ in range(3)] == ["loud-0", "request", "loud-1"]


async def test_inbox_queues_are_bounded_and_freed() -> None:
    inbox: Inbox[int] = Inbox()
    assert [inbox.put(f"till-{each}", each) for each in range(SENDERS_MAX + 1)] == [True] * SENDERS_MAX + [
        False
    ]
    assert await inbox.get() == 0
    assert inbox.put("late", 1)


async def test_inbox_get_waits_for_the_next_message() -> None:
    inbox: Inbox[str] = Inbox()
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put("till", "request")
    assert await asyncio.wait_for(waiting, 60) == "request"


@pytest.mark.parametrize("tills", [1, 20, 0], ids=["one till", "twenty tills", "a new id each"])
async def test_terminal_serves_the_other_till_through_a_flood(
    broker: Mosquitto, tmp_path: Path, tills: int
) -> None:
    """1 000 one-byte messages a second from another process, as one site certificate could send them.

    The till was served before the flood: without a key it is unknown until then, and unknown tills share one
    limit.
    """
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        assert (await till.ask(PHOTO, ttl_ms=10_000)).decision == "match"
        command = [sys.executable, "-m", "tests.chaos.flood", str(broker.port), TOPICS.base]
        flood = await asyncio.create_subprocess_exec(
            *command, str(FLOOD_PER_S), "5000", "--tills", str(tills)
        )
        async with asyncio.timeout(60):
            while running.till.dropped < BURST + NEW_BURST:  # noqa: ASYNC110 - no event for a dropped message
                await asyncio.sleep(0.02)
        for _ in range(3):
            verdict = await till.ask(PHOTO, ttl_ms=10_000)
            assert (verdict.decision, verdict.reason) == ("match", "same_person")
        assert await asyncio.wait_for(flood.wait(), 120) == 0
        assert running.till.dropped > 2_500
        assert sum(running.terminal.counters.refusals.values()) < 1_000


async def test_terminal_answers_a_flood_with_few_refusals(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as till:
        for _ in range(200):
            await till.connection.publish(Message(TOPICS.verify("till-1", REQUEST), b"x"), qos=0)
        await till.connection.publish(Message("shop/end", b"x"))
        assert await till.refusal() == "request_malformed"
        async with asyncio.timeout(60):
            while running.till.dropped < (200 - BURST) // 2:  # noqa: ASYNC110 - no event for a dropped message
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        waiting = [till.received.get_nowait() for _ in range(till.received.qsize())]
        events = [each for each in waiting if each.topic.endswith("/event")]
        assert len(events) <= ANSWERS_BURST + 4


async def test_key_folder_that_cannot_be_read_leaves_the_network_thread_alive(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """The limits asks for keys on paho's thread, which an exception would end; the link would look up."""
    (tmp_path / "tills").write_text("no folder")
    keys = Keyring(tmp_path)
    async with terminal(broker.port, tmp_path, trust=keys) as running, raw_till(broker.port) as till:
        async with asyncio.timeout(60):  # the state that the till has can be of the terminal before
            while not running.till.state._payload:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
        await till.send("request", request_bytes())
        assert await till.refusal() == "not_ready"
        (tmp_path / "tills").unlink()
        await till.send("request", request_bytes())
        assert await till.event("accepted")
