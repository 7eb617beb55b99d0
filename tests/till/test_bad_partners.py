"""A till that never acknowledges, and a broker that delivers retained messages wrongly."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.core.attempt_limits import AttemptLimits
from agent.core.reasons import FrameReason
from agent.errors import TillError
from agent.kits.simulator.state_behaviour import lose_copies
from agent.kits.till import terminal_state
from agent.messages.encode import state
from agent.mqtt.paho_client import Message
from tests.brokers import Mosquitto
from tests.messages.payloads import PHOTO, fresh_id
from tests.till.test_both_sides import TOPICS, RunningTerminal, raw_till, request_bytes, terminal, till_client

NO_LIMITS = AttemptLimits(failures=0, calls_per_minute=0, calls_per_day=0)
RESULTS = 12


async def test_till_that_never_acknowledges_delays_no_other_till(broker: Mosquitto, tmp_path: Path) -> None:
    """Its results are open, and repeated after 1, 2, 4 … s; `health` counts them."""
    async with terminal(broker.port, tmp_path, guard=NO_LIMITS) as running, raw_till(broker.port) as silent:
        copies = Counter[bytes]()
        began_s = asyncio.get_running_loop().time()
        for _ in range(RESULTS):
            known = len(copies)
            await silent.send("request", request_bytes())
            while len(copies) == known:
                copies[(await silent.next("result")).payload] += 1
        assert running.till.delivery_counters["unacknowledged"] == RESULTS
        async with till_client(broker.port, running, "till-2") as till:
            for _ in range(3):
                assert (await till.ask(PHOTO, ttl_ms=60_000)).decision == "match"
            async with asyncio.timeout(60):
                while running.till.delivery_counters["unacknowledged"] != RESULTS:  # noqa: ASYNC110 - no event for it
                    await asyncio.sleep(0.02)
        await asyncio.sleep(1.5)  # for a repeat of each result
        while not silent.received.empty():
            message = silent.received.get_nowait()
            copies[message.payload] += message.topic.endswith("/result")
        took_s = asyncio.get_running_loop().time() - began_s
        assert max(copies.values()) > 1, "the results are repeated"
        assert max(copies.values()) <= 2 + math.ceil(took_s).bit_length(), "with growing pauses"


async def test_request_of_an_earlier_epoch_without_its_retain_flag_is_stale(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """A broker kept the request over a restart of the terminal and delivers it as a new one."""
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as raw:
        await raw.send("request", request_bytes(epoch="e-0"))
        assert await raw.refusal() == "request_stale"
        assert running.compare.calls == []


@pytest.mark.forged
@pytest.mark.parametrize(
    ("kind", "payload"),
    [("ack", b"{"), ("ack", b'{"schema": "facepay.ack/9"}'), ("cancel", b""), ("cancel", b"{}")],
)
async def test_rejected_ack_or_unreadable_cancel_does_not_end_the_open_request(
    kind: str, payload: bytes, broker: Mosquitto, tmp_path: Path
) -> None:
    """A ``refused`` without request_id is the answer to the open request, which the terminal continues."""
    async with (
        terminal(broker.port, tmp_path) as running,
        till_client(broker.port, running) as till,
        raw_till(broker.port) as raw,
    ):
        running.analyzer.stage = FrameReason.NO_FACE
        sale = asyncio.create_task(till.ask(PHOTO, ttl_ms=60_000))
        await raw.event("accepted")
        before = running.till.dropped
        await raw.send(kind, payload)
        async with asyncio.timeout(60):
            while running.till.dropped == before and not sale.done():  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        running.analyzer.stage = FrameReason.SHOT
        assert (await sale).decision == "match"


@pytest.mark.forged
async def test_rejected_cancel_with_a_request_id_is_refused(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path), raw_till(broker.port) as raw:
        cancel = {"schema": "facepay.cancel/9", "request_id": fresh_id()}
        await raw.send("cancel", json.dumps(cancel).encode())
        refused = await raw.event("refused")
        assert (refused["refusal"], refused["request_id"]) == ("schema_unsupported", cancel["request_id"])


@pytest.mark.forged  # two states of one terminal at once
async def test_till_with_an_earlier_state_of_the_terminal_gets_the_newest_one_after_one_refusal(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of a cluster retained an earlier state with a valid signature, and delivers it as the newest."""
    monkeypatch.setattr(terminal_state, "GET_STATE_S", 3_600.0)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(terminal(broker.port, tmp_path))
        async with asyncio.timeout(60):
            while not running.till.state._payload:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        # a copy that arrives late would replace the earlier state
        lost = lose_copies(running.till.state, 1)
        till = await stack.enter_async_context(till_client(broker.port, running))
        async with asyncio.timeout(60):
            while not lost:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        await _deliver_earlier_state(running)
        async with asyncio.timeout(60):
            while till._state.fields["epoch"] != "e-0":  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        with pytest.raises(TillError, match="The request is too old"):
            await till.ask(PHOTO, ttl_ms=8_000)
        async with asyncio.timeout(60):
            while till._state.fields["epoch"] != "e-1":  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        assert (await till.ask(PHOTO, ttl_ms=60_000)).decision == "match"
        assert running.compare.calls == [1]


async def _deliver_earlier_state(running: RunningTerminal) -> None:
    running.till.state.retained = False  # the terminal would publish its state again within a second
    fields = json.loads(json.loads(running.till.state._payload)["state"])
    more = {name: fields[name] for name in ("version", "limits", "key", "conditions") if name in fields}
    who = running.till.identity
    payload = state("online", type(who)(who.site, who.terminal, who.boot_id, "e-0"), more, running.signer)
    await running.till.connection.publish(Message(TOPICS.state, payload))
