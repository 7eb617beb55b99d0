"""The retained ``state`` is restored, but never against another terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.messages.encode import TerminalIdentity, state
from agent.mqtt.paho_client import Message
from agent.till import retained_state
from agent.till.retained_state import REPAIRS_BURST, RetainedState
from tests.brokers import Mosquitto
from tests.till.test_both_sides import TOPICS, RawTill, raw_till, terminal

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

    async def overwritten(self, times: int) -> None:
        for each in range(times):
            self.retained.received(b"overwritten %d" % each)
            await asyncio.sleep(0.05)


async def test_state_repairs_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two terminals with one key, or a script, do not cause endless publishes."""
    repairs = Repairs(monkeypatch)
    repairs.retained.published(b"mine")
    await repairs.overwritten(REPAIRS_BURST * 4)
    assert repairs.count == REPAIRS_BURST
    repairs.retained.close()


async def test_state_of_another_terminal_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch, foreign=True)
    repairs.retained.published(b"mine")
    await repairs.overwritten(3)
    assert repairs.count == 0


async def test_state_delivery_of_an_earlier_publish_causes_no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch)
    repairs.retained.published(b"online")
    repairs.retained.published(b"degraded")
    repairs.retained.received(b"online")
    repairs.retained.received(b"degraded")
    await asyncio.sleep(0.1)
    assert repairs.count == 0


async def test_state_before_the_first_publish_causes_no_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch)
    repairs.retained.received(b"of an earlier process")
    await asyncio.sleep(0.1)
    assert repairs.count == 0


async def test_terminal_does_not_overwrite_the_state_of_a_clone(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as till:
        await till.connection.publish(Message(TOPICS.state, ONLINE_CLONE, retained=True))
        await asyncio.sleep(retained_state.SETTLE_S + 0.5)
        assert running.till.state._retained_state._timer is None
        states = [till.received.get_nowait() for _ in range(till.received.qsize())]
        assert json.loads(states[-1].payload)["epoch"] == OTHER.epoch
