"""The retained ``state`` is what the terminal published, without a fight with another terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.messages.encode import TerminalIdentity, state
from agent.mqtt.paho_client import Message
from agent.till import state_keeper
from agent.till.state_keeper import REPAIRS_BURST, StateKeeper
from tests.brokers import Mosquitto
from tests.till.test_both_sides import TOPICS, Wire, terminal, wire

pytestmark = pytest.mark.forged  # states of strangers

OTHER = TerminalIdentity("shop", "terminal-1", boot_id="another-boot", epoch="another-epoch")
LIVING = state("online", OTHER, {"key": {"kid": "cc" * 8, "sha256": "cc" * 32}})


async def own_state(till: Wire) -> dict[str, Any]:
    """The next ``state`` that the terminal itself published as online."""
    while True:
        message = await till.next("state")
        tree: dict[str, Any] = json.loads(message.payload) if message.payload[:1] == b"{" else {}
        if tree.get("status") == "online" and tree["epoch"] == "e-1":
            return tree


@pytest.mark.parametrize(
    "payload", [b"", b"junk", state("offline", OTHER)], ids=["cleared", "junk", "another's will"]
)
async def test_state_overwritten_is_published_again(
    broker: Mosquitto, tmp_path: Path, payload: bytes
) -> None:
    async with terminal(broker.port, tmp_path), wire(broker.port) as till:
        await till.link.publish(Message(TOPICS.state, payload, retained=True))
        await own_state(till)


class Repairs:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, foreign: bool = False) -> None:
        monkeypatch.setattr(state_keeper, "SETTLE_S", 0.01)
        self.count = 0
        self.now_s = 0.0
        self.keeper = StateKeeper(lambda: self.now_s, lambda _payload: foreign, self._repair)

    def _repair(self) -> None:
        self.count += 1

    async def overwritten(self, times: int) -> None:
        for each in range(times):
            self.keeper.seen(b"overwritten %d" % each)
            await asyncio.sleep(0.05)


async def test_state_repairs_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two terminals with one key, or an operator's script, cannot make it publish without end."""
    repairs = Repairs(monkeypatch)
    repairs.keeper.published(b"mine")
    await repairs.overwritten(REPAIRS_BURST * 4)
    assert repairs.count == REPAIRS_BURST
    repairs.keeper.close()


async def test_state_of_another_living_terminal_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch, foreign=True)
    repairs.keeper.published(b"mine")
    await repairs.overwritten(3)
    assert repairs.count == 0


async def test_state_echo_of_an_earlier_publish_is_no_overwriting(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch)
    repairs.keeper.published(b"online")
    repairs.keeper.published(b"degraded")
    repairs.keeper.seen(b"online")
    repairs.keeper.seen(b"degraded")
    await asyncio.sleep(0.1)
    assert repairs.count == 0


async def test_state_before_the_first_publish_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    repairs = Repairs(monkeypatch)
    repairs.keeper.seen(b"of an earlier process")
    await asyncio.sleep(0.1)
    assert repairs.count == 0


async def test_terminal_leaves_the_state_of_a_living_double(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as side, wire(broker.port) as till:
        await till.link.publish(Message(TOPICS.state, LIVING, retained=True))
        await asyncio.sleep(state_keeper.SETTLE_S + 0.5)
        assert side.till._keeper._check is None
        heard = [till.heard.get_nowait() for _ in range(till.heard.qsize())]
        assert json.loads(heard[-1].payload)["epoch"] == OTHER.epoch
