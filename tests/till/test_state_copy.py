"""A till that sends ``get_state`` gets the bytes of the retained ``state`` on a topic of its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.kits.simulator.state_behaviour import lose_copies
from agent.kits.simulator.state_forgeries import FORGED_EPOCH, forged_states
from agent.kits.till import terminal_state
from agent.kits.till.client import TillClient
from agent.messages.signing import Signer
from agent.messages.topics import GET_STATE, STATE_COPY
from agent.mqtt.paho_client import Message
from agent.mqtt.reason_codes import BrokerProblem
from agent.till.rate_limits import ANSWERS_BURST, ANSWERS_PER_S, TillRateLimits
from tests.brokers import Mosquitto
from tests.till.test_both_sides import TOPICS, RunningTerminal, raw_till, terminal, till_client


async def forget_retained(running: RunningTerminal) -> None:
    """The broker retains no ``state`` from now on."""
    async with asyncio.timeout(60):
        while not running.till.state._payload:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.02)
    running.till.state.retained = False  # the terminal would restore the topic
    await running.till.connection.publish(Message(TOPICS.state, b"", retained=True))


async def test_get_state_returns_the_bytes_of_the_retained_state(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as till:
        await till.connection.publish(Message(TOPICS.verify("till-2", GET_STATE), b"{}"))
        await till.send(GET_STATE, b"")  # the content is ignored
        copy = await till.next(STATE_COPY)
        assert not copy.retained
        assert till.received.empty(), "the other till's copy went to another topic"
        async with raw_till(broker.port) as other:
            await other.send(GET_STATE, b"not JSON")
            assert (await other.next(STATE_COPY)).payload == copy.payload
        tree = json.loads(copy.payload)
        assert running.signer.public.verify(tree["state"], tree["jws"], "state")
        assert json.loads(tree["state"])["epoch"] == tree["epoch"] == "e-1"


async def test_till_without_a_retained_state_gets_an_answer(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running:
        await forget_retained(running)
        async with till_client(broker.port, running) as till:
            assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=30_000)).decision == "match"


async def test_till_client_asks_again_until_a_state_arrives(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_state, "GET_STATE_S", 0.1)
    async with terminal(broker.port, tmp_path) as running:
        await forget_retained(running)
        lost = lose_copies(running.till.state, 3)
        async with till_client(broker.port, running) as till:
            assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=30_000)).decision == "match"
        assert len(lost) == 3


@pytest.mark.forged
async def test_till_client_with_a_forged_state_only_asks_again(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_state, "GET_STATE_S", 0.1)
    async with terminal(broker.port, tmp_path), raw_till(broker.port) as observer:
        till = TillClient(MqttConfig(port=broker.port), TOPICS, "till-1", pinned=Signer.generate().public)
        await till.start()
        try:
            for _ in range(3):
                await observer.next(GET_STATE)
                await observer.next(STATE_COPY)
        finally:
            await till.stop()


async def test_till_client_that_ends_leaves_no_request_for_state(broker: Mosquitto) -> None:
    """A subscription can complete while the end waits for its acknowledgements."""
    till = TillClient(MqttConfig(port=broker.port), TOPICS, "till-1")
    await till.start()
    finish = till._sender.finish

    async def subscribed_meanwhile() -> None:
        till._get_state.begin()
        await finish()

    till._sender.finish = subscribed_meanwhile  # type: ignore[method-assign]
    await till.stop()
    assert till._get_state._task is not None and till._get_state._task.done()


async def test_till_client_with_an_old_epoch_asks_for_the_state(broker: Mosquitto, tmp_path: Path) -> None:
    """The ``state`` of a restarted terminal was lost, e.g. in a partition of a cluster."""
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        till._state.fields |= {"epoch": "an earlier one"}
        with pytest.raises(TillError, match="The request is too old"):
            await till.ask(b"\xff\xd8 a photo", ttl_ms=30_000)
        async with asyncio.timeout(60):
            while till._state.fields["epoch"] != "e-1":  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=30_000)).decision == "match"


async def test_retained_get_state_is_ignored(broker: Mosquitto, tmp_path: Path) -> None:
    topic = TOPICS.verify("till-1", GET_STATE)
    async with terminal(broker.port, tmp_path), raw_till(broker.port) as till:
        await till.connection.publish(Message(topic, b"{}", retained=True))
        await till.send(GET_STATE, b"{}")
        await till.next(STATE_COPY)
        await till.send("request", b"junk")
        await till.event("refused")
        assert till.received.empty(), "one copy, for the message without the retain flag"
        await till.connection.publish(Message(topic, b"", retained=True))


async def test_rights_without_get_state_are_no_fault(tmp_path: Path) -> None:
    """The rights of an earlier release: the terminal serves, and the retained state remains."""
    (tmp_path / "acl").write_text(
        "topic readwrite facepay/v1/shop/terminal-1/state\n"
        + "".join(
            f"topic readwrite facepay/v1/shop/terminal-1/verify/+/{kind}\n"
            for kind in ("request", "cancel", "ack", "event", "result")
        )
    )
    broker = Mosquitto(tmp_path, f"acl_file {tmp_path / 'acl'}").start()
    problems: list[BrokerProblem] = []
    try:
        async with (
            terminal(broker.port, tmp_path / "terminal", on_problem=problems.append) as running,
            till_client(broker.port, running) as till,
        ):
            assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=30_000)).decision == "match"
        assert problems == []
    finally:
        broker.stop()


@pytest.mark.forged
async def test_till_client_ignores_each_forged_state(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        running.till.state.retained = False
        who = running.till.identity
        for payload in forged_states(who, {}, running.signer, Signer.generate()):
            assert FORGED_EPOCH.encode() in payload
            for topic in (TOPICS.state, TOPICS.verify("till-1", STATE_COPY)):
                await running.till.connection.publish(Message(topic, payload))
        assert (await till.ask(b"\xff\xd8 a photo", ttl_ms=30_000)).decision == "match"


async def test_till_client_names_a_state_of_another_key(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path):
        till = TillClient(MqttConfig(port=broker.port), TOPICS, "till-1", pinned=Signer.generate().public)
        await till.start()
        try:
            with pytest.raises(TillError, match="not signed with the pinned key"):
                await till.online(2.0)
        finally:
            await till.stop()


def test_limits_limits_the_copies_of_one_till() -> None:
    now_s = 0.0
    limits = TillRateLimits(TOPICS, lambda: now_s, 60)
    assert sum(limits.admits_state_copy("till-1") for _ in range(200)) == ANSWERS_BURST
    assert limits.admits_state_copy("till-2")
    now_s = 1.0
    assert sum(limits.admits_state_copy("till-1") for _ in range(200)) == ANSWERS_PER_S
