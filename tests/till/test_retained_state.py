"""The retained ``state`` is restored; against another terminal, or a forgery of one, only now and then."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.messages.encode import TerminalIdentity, state
from agent.mqtt.paho_client import Message
from agent.mqtt.reason_codes import BrokerProblem
from agent.till import retained_state, state_publisher
from agent.till.retained_state import REPAIRS_BURST, RetainedState
from tests.brokers import Mosquitto
from tests.till.test_both_sides import TOPICS, RawTill, raw_till, terminal, till_client

pytestmark = pytest.mark.forged  # states of other terminals

OTHER = TerminalIdentity("shop", "terminal-1", boot_id="another-boot", epoch="another-epoch")
ONLINE_CLONE = state("online", OTHER, {"key": {"kid": "cc" * 8, "sha256": "cc" * 32}})


async def own_state(till: RawTill) -> dict[str, Any]:
    """The next ``state`` that the terminal itself published as online."""
    while True:
        message = await till.next("state")
        tree: dict[str, Any] = json.loads(message.payload) if message.payload[:1] == b"{" else {}
        if tree.get("status") == "online" and tree["epoch"] == "e-1":
            return tree


@pytest.mark.parametrize(
    "payload", [b"", b"junk", state("offline", OTHER)], ids=["cleared", "junk", "the will of another client"]
)
async def test_state_overwritten_is_published_again(
    broker: Mosquitto, tmp_path: Path, payload: bytes
) -> None:
    async with terminal(broker.port, tmp_path), raw_till(broker.port) as till:
        await till.connection.publish(Message(TOPICS.state, payload, retained=True))
        await own_state(till)


class Repairs:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, foreign: bool = False) -> None:
        monkeypatch.setattr(retained_state, "SETTLE_S", 0.01)
        self.count = 0
        self.now_s = 0.0
        self.retained = RetainedState(lambda: self.now_s, lambda _payload: foreign, self._repair)

    def _repair(self) -> None:
        self.count += 1

    async def overwritten(self, times: int, step_s: float = 0.0) -> None:
        for each in range(times):
            self.now_s += step_s
            self.retained.note_received(b"overwritten %d" % each)
            await asyncio.sleep(0.05)
            self.retained.close()  # the next message comes before the next check


async def test_state_repairs_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two terminals with one key, or a script, do not cause endless publishes."""
    repairs = Repairs(monkeypatch)
    repairs.retained.note_published(b"mine")
    await repairs.overwritten(REPAIRS_BURST * 4)
    assert repairs.count == REPAIRS_BURST
    repairs.retained.close()


async def test_state_of_another_terminal_is_replaced_once_in_ten_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other terminal receives it and reports it, too. Forged states cause one publish, not one each."""
    repairs = Repairs(monkeypatch, foreign=True)
    repairs.retained.note_published(b"mine")
    await repairs.overwritten(5)
    assert repairs.count == 1
    await repairs.overwritten(8, step_s=150.0)
    assert repairs.count == 3


async def test_state_delivery_of_an_earlier_publish_causes_no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch)
    repairs.retained.note_published(b"online")
    repairs.retained.note_published(b"degraded")
    repairs.retained.note_received(b"online")
    repairs.retained.note_received(b"degraded")
    await asyncio.sleep(0.1)
    assert repairs.count == 0


async def test_state_before_the_first_publish_causes_no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch)
    repairs.retained.note_received(b"of an earlier process")
    await asyncio.sleep(0.1)
    assert repairs.count == 0


async def test_forged_states_of_another_terminal_do_no_harm(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal serves, a new till gets its answer, the retained state returns, the report ends."""
    monkeypatch.setattr(state_publisher, "CLONED_FOR_S", 3.0)
    active: list[bool] = []

    def note(problem: BrokerProblem, is_active: bool, _detail: object) -> None:
        if problem is BrokerProblem.CLONED:
            active.append(is_active)

    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as attacker:
        running.till.state._facts = replace(running.till.state._facts, on_problem=note)
        async with asyncio.timeout(60):
            while not running.till.state._payload:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        for _ in range(3):
            await attacker.connection.publish(Message(TOPICS.state, ONLINE_CLONE, retained=True))
        async with till_client(broker.port, running) as till:
            assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=60_000)).decision == "match"
        await own_state(attacker)
        for _ in range(3):
            await attacker.connection.publish(Message(TOPICS.state, ONLINE_CLONE, retained=True))
        async with till_client(broker.port, running, "till-2") as till:  # the forgery is retained now
            assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=60_000)).decision == "match"
        async with asyncio.timeout(60):
            while active[-1:] != [False]:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
    assert True in active
