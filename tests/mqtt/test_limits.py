"""The limits of a CONNACK are kept; each refusal is reported with the reason of the broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.mqtt import connection as connection_module
from agent.mqtt import status
from agent.mqtt.paho_client import BrokerLimits, ClientOptions, Message
from agent.mqtt.reason_codes import REFUSING, BrokerProblem
from tests.brokers import Mosquitto
from tests.mqtt.scripted import Script, connack, disconnect, puback, scripted
from tests.mqtt.test_status import Watched, started
from tests.texts import en, zh

RESULT = "facepay/v1/shop/terminal-1/verify/till-1/result"
STATE = "facepay/v1/shop/terminal-1/state"

pytestmark = pytest.mark.forged  # the payloads are no valid messages of the contract

REFUSALS = {
    0x80: BrokerProblem.FAULT,
    0x81: BrokerProblem.PROTOCOL,
    0x82: BrokerProblem.PROTOCOL,
    0x83: BrokerProblem.FAULT,
    0x84: BrokerProblem.PROTOCOL,
    0x85: BrokerProblem.CLIENT_ID,
    0x86: BrokerProblem.REFUSED,
    0x87: BrokerProblem.REFUSED,
    0x88: BrokerProblem.BUSY,
    0x89: BrokerProblem.BUSY,
    0x8A: BrokerProblem.BANNED,
    0x8C: BrokerProblem.REFUSED,
    0x90: BrokerProblem.LIMITS,
    0x95: BrokerProblem.LIMITS,
    0x97: BrokerProblem.QUOTA,
    0x9A: BrokerProblem.LIMITS,
    0x9B: BrokerProblem.LIMITS,
    0x9C: BrokerProblem.MOVED,
    0x9D: BrokerProblem.MOVED,
    0x9F: BrokerProblem.BUSY,
}


async def until(watched: Watched, problem: BrokerProblem, *, active: bool = True) -> None:
    async with asyncio.timeout(60):
        while (problem in watched.active) != active:
            await watched.changes.get()


@pytest.mark.parametrize("reason", REFUSALS, ids=hex)
async def test_connection_refused_connect_reports_the_brokers_reason(reason: int) -> None:
    async with scripted(Script(connack(reason))) as port, started(Watched(port)) as watched:
        assert await watched.next() == (REFUSALS[reason], True)
        assert f"0x{reason:02X}" in watched.details[REFUSALS[reason]]
        assert REFUSALS[reason] in REFUSING


async def test_connection_mqtt_3_broker_reports_protocol() -> None:
    """A broker of MQTT 3.1.1 answers with two bytes; the reason is 1."""
    script = Script(bytes([0x20, 2, 0, 1]))
    async with scripted(script) as port, started(Watched(port)) as watched:
        assert await watched.next() == (BrokerProblem.PROTOCOL, True)


async def test_connection_moved_broker_reports_new_server() -> None:
    moved = connack(0x9D, b"\x1c\x00\x0bother:18830")
    async with scripted(Script(moved)) as port, started(Watched(port)) as watched:
        assert await watched.next() == (BrokerProblem.MOVED, True)
        assert "other:18830" in watched.details[BrokerProblem.MOVED]


async def test_connection_retain_unavailable_is_reported_by_mosquitto(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, "retain_available false").start()
    watched = Watched(broker.port, will=Message(STATE, b"offline", retained=True))
    async with started(watched):
        assert await watched.next() == (BrokerProblem.LIMITS, True)
        assert "Retain not supported (0x9A)" in watched.details[BrokerProblem.LIMITS]
    broker.stop()


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        (0x87, BrokerProblem.REFUSED),
        (0x8E, BrokerProblem.TAKEN_OVER),
        (0x93, BrokerProblem.LIMITS),
        (0x95, BrokerProblem.TOO_LARGE),
        (0x96, BrokerProblem.QUOTA),
        (0x98, BrokerProblem.BANNED),
        (0x8B, BrokerProblem.BUSY),
        (0x80, BrokerProblem.FAULT),
    ],
)
async def test_connection_disconnect_after_a_publish_reports_reason(
    reason: int, problem: BrokerProblem
) -> None:
    """Connection after connection ends, and a second client is suspected for reason code 0x8E only."""
    script = Script(on_publish=lambda _topic, _payload, _mid: disconnect(reason))
    async with scripted(script) as port, started(Watched(port)) as watched:
        while script.connections < 4:
            await asyncio.wait_for(watched.up.wait(), 60)
            watched.up.clear()
            with pytest.raises(TillError):
                await watched.connection.publish(Message(STATE, b"online", retained=True))
        await until(watched, problem)
        assert f"0x{reason:02X}" in watched.details[problem]
        assert (BrokerProblem.TAKEN_OVER in watched.active) is (problem is BrokerProblem.TAKEN_OVER)


async def test_connection_steady_connection_ends_the_disconnect_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "STEADY_AFTER_S", 0.5)
    answers = [disconnect(0x98)]
    script = Script(on_publish=lambda _topic, _payload, mid: answers.pop() if answers else puback(mid))
    async with scripted(script) as port, started(Watched(port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        with pytest.raises(TillError):
            await watched.connection.publish(Message(STATE, b"online"))
        await until(watched, BrokerProblem.BANNED)
        await until(watched, BrokerProblem.BANNED, active=False)


async def test_connection_keep_alive_timeout_is_not_reported() -> None:
    script = Script(on_publish=lambda _topic, _payload, _mid: disconnect(0x8D))
    async with scripted(script) as port, started(Watched(port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        with pytest.raises(TillError):
            await watched.connection.publish(Message(STATE, b"online"))
        assert not watched.active


@pytest.mark.parametrize(
    ("reason", "problem"), [(0x87, BrokerProblem.PUBLISH_REFUSED), (0x97, BrokerProblem.QUOTA)]
)
async def test_connection_refused_puback_is_reported_until_one_succeeds(
    reason: int, problem: BrokerProblem
) -> None:
    answers = [reason, reason, 0, 0]
    script = Script(on_publish=lambda _topic, _payload, mid: puback(mid, answers.pop(0)))
    async with scripted(script) as port, started(Watched(port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        for topic in (RESULT, STATE):
            with pytest.raises(TillError) as refused:
                await watched.connection.publish(Message(topic, b"x"))
            assert refused.value.code == "publish_refused"
        assert watched.active == {problem}
        assert f"0x{reason:02X}" in watched.details[problem]
        await watched.connection.publish(Message(STATE, b"x"))
        assert watched.active == {problem}, "results are still refused"
        await watched.connection.publish(Message(RESULT, b"x"))
        assert not watched.active


async def test_connection_packet_over_the_limit_is_not_sent_and_others_are(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, "max_packet_size 2000").start()
    async with started(Watched(broker.port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        with pytest.raises(TillError) as refused:
            await watched.connection.publish(Message(RESULT, b"x" * 3_000))
        assert refused.value.code == "packet_too_large"
        assert watched.active == {BrokerProblem.TOO_LARGE}
        detail = watched.details[BrokerProblem.TOO_LARGE]
        assert str(Message(RESULT, b"x" * 3_000).packet_bytes) in detail and "2000" in detail
        await watched.connection.publish(Message(RESULT, b"x" * 100))
        assert watched.connection.is_connected and watched.active == {BrokerProblem.TOO_LARGE}
        broker.stop()
        broker.allow("max_packet_size 10000")
        watched.up.clear()
        await asyncio.wait_for(watched.up.wait(), 60)
        await watched.connection.publish(Message(RESULT, b"x" * 3_000))
        assert BrokerProblem.TOO_LARGE not in watched.active
    broker.stop()


@pytest.mark.parametrize("length", [0, 1, 100, 1_000, 20_000])
async def test_packet_bytes_is_at_least_the_sent_size(length: int) -> None:
    script = Script()
    async with scripted(script) as port, started(Watched(port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        await watched.connection.publish(Message(RESULT, b"x" * length, expires_in_s=8))
        ((_topic, body_bytes, _qos),) = script.published
        assert body_bytes < Message(RESULT, b"x" * length).packet_bytes <= body_bytes + 5


async def test_connection_cuts_after_one_message_are_reported_as_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "RETRY_S", (0.05,))
    script = Script(on_publish=lambda _topic, payload, mid: None if len(payload) > 500 else puback(mid))
    async with scripted(script) as port, started(Watched(port)) as watched:
        for _ in range(status.CUTS_MAX):
            await asyncio.wait_for(watched.up.wait(), 60)
            watched.up.clear()
            with pytest.raises(TillError) as cut:
                await watched.connection.publish(Message(RESULT, b"x" * 1_000))
            assert cut.value.code == "publish_cut"
        await until(watched, BrokerProblem.TOO_LARGE)
        assert BrokerProblem.TAKEN_OVER not in watched.active
        assert "result of" in watched.details[BrokerProblem.TOO_LARGE]


async def test_connection_receive_maximum_bounds_unanswered_publishes() -> None:
    """Two publishes may be unanswered; the third one waits for a PUBACK."""
    held: list[int] = []

    def hold(_topic: str, _payload: bytes, mid: int) -> bytes:
        held.append(mid)
        return puback(held.pop(0)) + puback(held.pop(0)) if len(held) == 2 else b""

    script = Script(connack(0, b"\x21\x00\x02"), on_publish=hold)
    async with scripted(script) as port, started(Watched(port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        publishes = [watched.connection.publish(Message(RESULT, b"x")) for _ in range(6)]
        assert await asyncio.gather(*publishes) == [True] * 6
        assert not held


async def test_connection_qos_0_broker_gets_qos_0_and_is_reported() -> None:
    script = Script(connack(0, b"\x24\x00"))
    async with scripted(script) as port, started(Watched(port)) as watched:
        assert await watched.next() == (BrokerProblem.LIMITS, True)
        assert "QoS 1" in watched.details[BrokerProblem.LIMITS]
        assert await watched.connection.publish(Message(RESULT, b"x")) is False
        while not script.published:  # noqa: ASYNC110 - the script has no event
            await asyncio.sleep(0.01)
        assert script.published[0][2] == 0


async def test_connection_broker_without_wildcards_gets_no_wildcard_filter() -> None:
    script = Script(connack(0, b"\x28\x00"))
    async with scripted(script) as port, started(Watched(port, filters=("a", "b/+", "c/#"))) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        assert script.filters == 1
        assert watched.active == {BrokerProblem.LIMITS}
        assert "wildcard" in watched.details[BrokerProblem.LIMITS]


def test_limits_without_properties_are_the_defaults_of_the_standard() -> None:
    assert BrokerLimits.of(None) == BrokerLimits()
    will = Message("t", b"", retained=True)
    options = ClientOptions("id", [("a/+", 1)], lambda _message: None, lambda: None, will)
    assert options.missing_features(BrokerLimits()) == ""


def test_broker_problem_each_has_a_fix_in_both_languages() -> None:
    for problem in BrokerProblem:
        assert en(CONDITIONS[problem].fix) and zh(CONDITIONS[problem].fix)
