"""The simulated terminal: every message matches the contract, and the till client handles every fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config import MqttConfig
from agent.config.file import load
from agent.core.model import Request
from agent.core.reasons import Decision, Reason
from agent.errors import ConfigError, TillError
from agent.kits.simulator.script import FORGED, Script, ScriptStep, SimulatedFault, decision_of, script_named
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.terminal import SimulatorSetup
from agent.kits.till.client import TillClient
from agent.kits.till.watcher import Watcher
from agent.messages.signing import PublicKey
from agent.messages.topics import Topics
from agent.mqtt.paho_client import Message
from tests.brokers import Mosquitto
from tests.contract.validator import assert_valid
from tests.fakes import RealClock
from tests.texts import en

TOPICS = Topics("site", "terminal")
PHOTO = b"\xff\xd8 enrolled \xff\xd9"
NOT_IN_THE_CONTRACT = {SimulatedFault.UNSIGNED, SimulatedFault.UNKNOWN_DECISION, SimulatedFault.ADDITIONS}


class Play:
    """A simulator, a till client, and all messages on the broker."""

    def __init__(self, config: MqttConfig, folder: Path, steps: list[ScriptStep]) -> None:
        self.wire: list[Message] = []
        self._message_received = asyncio.Event()
        self._steps = steps
        self.simulator = Simulator(SimulatorSetup(config, TOPICS, folder, RealClock()), self._next_step)
        self.till = TillClient(config, TOPICS, "till-1", pinned=self.simulator.terminal.key.public)
        self.watcher = Watcher(config, TOPICS, self._record)

    def _next_step(self, _: Request) -> ScriptStep | None:
        return self._steps.pop(0) if self._steps else None

    def _record(self, message: Message) -> None:
        self.wire.append(message)
        self._message_received.set()

    def sent(self, kind: str) -> list[Message]:
        return [message for message in self.wire if message.topic.endswith(f"/{kind}") and message.payload]

    async def until(self, kind: str, count: int = 1) -> list[Message]:
        """All messages of this kind, once ``count`` have arrived."""
        async with asyncio.timeout(60):
            while len(self.sent(kind)) < count:
                self._message_received.clear()
                await self._message_received.wait()
        return self.sent(kind)


@asynccontextmanager
async def running_play(broker: Mosquitto, folder: Path, *steps: ScriptStep) -> AsyncIterator[Play]:
    play = Play(MqttConfig(port=broker.port), folder, list(steps))
    await play.simulator.start()
    await play.watcher.start()
    await play.till.start()
    try:
        yield play
    finally:
        await play.till.stop()
        await play.watcher.stop()
        await play.simulator.stop()


def quick(name: str) -> ScriptStep:
    return script_named(name).answer[0].model_copy(update={"delay_ms": 20})


@pytest.mark.forged
@pytest.mark.parametrize("fault", SimulatedFault, ids=str)
async def test_every_message_matches_the_contract(
    fault: SimulatedFault, broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick(fault)) as play:
        try:
            await play.till.ask(PHOTO, ttl_ms=1_000)
        except TillError as error:
            assert error.code in ("busy", "result_expired")
        await play.simulator.wait_until_idle()
        await play.till.stop()
    for message in play.wire:
        if fault in NOT_IN_THE_CONTRACT and message.topic.endswith(("/result", "/event")):
            continue  # the fault itself breaks the contract
        if message.payload:
            exact = fault is not SimulatedFault.ADDITIONS  # which adds fields to the state as well
            assert_valid(message.topic, message.payload, exact=exact)


@pytest.mark.parametrize("reason", Reason, ids=str)
async def test_every_reason_arrives_under_its_decision(
    reason: Reason, broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick(reason)) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=20_000)
        assert (verdict.decision, verdict.reason) == (decision_of(reason).value, reason.value)
        assert play.till.violations == []
        (message,) = await play.until("result")
        assert_valid(message.topic, message.payload)


@pytest.mark.parametrize("fault", sorted(FORGED - NOT_IN_THE_CONTRACT), ids=str)
async def test_till_client_accepts_the_true_result_and_rejects_the_forged_result(
    fault: SimulatedFault, broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick(fault)) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=6_000)
        assert verdict.decision == Decision.NO_MATCH
        assert len(await play.until("result", 2)) == 2


@pytest.mark.forged
@pytest.mark.parametrize("fault", [SimulatedFault.ADDITIONS, SimulatedFault.FORGED_BEFORE], ids=str)
async def test_till_client_accepts_a_match_after_messages_that_it_must_ignore(
    fault: SimulatedFault, broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick(fault)) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=10_000)
        assert verdict.decision == Decision.MATCH
        await play.until("ack")
        acknowledged = {json.loads(message.payload)["result_id"] for message in play.sent("ack")}
        assert acknowledged == {verdict.result["result_id"]}


@pytest.mark.forged
async def test_an_unknown_decision_is_undecided(broker: Mosquitto, tmp_path: Path) -> None:
    async with running_play(broker, tmp_path, quick("unknown_decision")) as play:
        assert (await play.till.ask(PHOTO, ttl_ms=1_000)).decision == Decision.UNDECIDED


@pytest.mark.parametrize(
    "fault", [SimulatedFault.LATE, SimulatedFault.SILENT, SimulatedFault.REORDER], ids=str
)
async def test_till_client_times_out_at_its_own_deadline(
    fault: SimulatedFault, broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick(fault)) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=1_000)
        assert (verdict.decision, verdict.reason) == ("undecided", "timed_out")


async def test_a_crash_between_result_and_ack_repeats_the_same_bytes(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick("crash"), quick("same_person")) as play:
        before = (await play.till.online())["epoch"]
        assert (await play.till.ask(PHOTO, ttl_ms=20_000)).decision == Decision.MATCH
        await play.simulator.wait_until_idle()
        first, second, *_ = await play.until("result", 2)
        assert first.payload == second.payload
        topics = [message.topic for message in play.wire]
        after = [m for m in play.wire[topics.index(first.topic) :] if m.topic == TOPICS.state]
        states = [json.loads(message.payload) for message in after]
        assert [state["status"] for state in states] == ["offline", "online"], "the will was published"
        assert [state["epoch"] == before for state in states] == [True, False]
        assert (await play.till.ask(PHOTO, ttl_ms=20_000)).decision == Decision.MATCH


async def test_a_cancelled_request_ends_as_cancelled(broker: Mosquitto, tmp_path: Path) -> None:
    step = quick("same_person").model_copy(update={"delay_ms": 2_000})
    async with running_play(broker, tmp_path, step) as play:
        task = asyncio.create_task(play.till.ask(PHOTO, ttl_ms=20_000))
        await play.until("event")
        await play.till.cancel()
        assert (await task).reason == Reason.CANCELLED


async def test_a_repeated_request_gets_the_same_result_bytes(broker: Mosquitto, tmp_path: Path) -> None:
    async with running_play(broker, tmp_path, quick("same_person")) as play:
        await play.till.ask(PHOTO, ttl_ms=20_000)
        (request, *_) = await play.until("request")
        await play.watcher.connection.publish(Message(request.topic, request.payload))
        first, second = await play.until("result", 2)
        assert first.payload == second.payload


async def test_a_repeat_that_is_acknowledged_again_is_not_sent_a_third_time(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """The agent delivers the stored result of a repeated request again, although it was acknowledged."""
    async with running_play(broker, tmp_path, quick("same_person")) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=20_000)
        await play.until("ack")
        body = play.simulator.terminal
        known = await body.outbox.find("till-1", verdict.request_id)
        assert known is not None and known.result is not None
        sender = body.till.result_sender
        await sender.deliver(known.result)
        await sender.record_ack("till-1", known.result.result_id)
        assert sender.open_count == 0


async def test_without_a_step_left_the_simulator_is_not_ready(broker: Mosquitto, tmp_path: Path) -> None:
    async with running_play(broker, tmp_path) as play:
        with pytest.raises(TillError) as refused:
            await play.till.ask(PHOTO, ttl_ms=1_000)
        assert refused.value.code == "not_ready"


def test_a_broker_that_is_not_on_loopback_is_refused(tmp_path: Path) -> None:
    setup = SimulatorSetup(MqttConfig(host="broker.example"), TOPICS, tmp_path, RealClock())
    with pytest.raises(ConfigError, match="loopback"):
        Simulator(setup, lambda _: None)


def test_every_simulator_has_new_keys(tmp_path: Path) -> None:
    keys: set[bytes] = set()
    for name in ("one", "two"):
        setup = SimulatorSetup(MqttConfig(), TOPICS, tmp_path / name, RealClock())
        body = Simulator(setup, lambda _: None).terminal
        keys |= {body.key.public.pem(), body.unknown_key.public.pem()}
    assert len(keys) == 4
    assert all(PublicKey.load(pem) for pem in keys)


# --- scripts ------------------------------------------------------------------------------------------


def test_a_script_is_a_list_of_answers(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text('[[answer]]\nreason = "no_face"\n[[answer]]\nfault = "late"\ndelay_ms = 10\n')
    script = load(path, Script)
    assert [(step.reason, step.fault) for step in script.answer] == [
        (Reason.NO_FACE, SimulatedFault.NONE),
        (Reason.SAME_PERSON, SimulatedFault.LATE),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[answer]]\nfault = "sleepy"\n', "answer.fault"),
        ('[[answer]]\ndecision = "match"\n', "unknown key"),
        ("[[answer]]\nsimilarity = 101\n", "answer.similarity"),
    ],
)
def test_a_wrong_script_names_the_line(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        load(path, Script)
    assert f"{path}:" in str(caught.value)


def test_an_unknown_scenario_lists_the_known_scenarios() -> None:
    with pytest.raises(ConfigError) as caught:
        script_named("everything_fine")
    names: list[Any] = [*SimulatedFault, *Reason]
    assert all(name.value in en(caught.value.fix) for name in names)


async def test_till_client_acts_on_an_interrupted_result_of_the_next_process(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_play(broker, tmp_path, quick("crash_early")) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=10_000)
        assert (verdict.decision, verdict.reason) == ("undecided", "interrupted")
        (ack,) = await play.until("ack")
        assert json.loads(ack.payload)["result_id"] == verdict.result["result_id"]
        assert verdict.result["epoch"] != play.simulator.terminal.identity.epoch
        assert not play.till.violations


async def test_till_client_accepts_a_stored_result_signed_before_a_rotation(
    broker: Mosquitto, tmp_path: Path
) -> None:
    step = ScriptStep(reason=Reason.DIFFERENT_PERSON, fault=SimulatedFault.ROTATED, delay_ms=50)
    async with running_play(broker, tmp_path, step, quick("same_person")) as play:
        verdict = await play.till.ask(PHOTO, ttl_ms=10_000)
        assert (verdict.decision, verdict.reason) == ("no_match", "different_person")
        await play.until("ack")
        assert not play.till.violations
        await play.simulator.wait_until_idle()
        verdict = await play.till.ask(PHOTO, ttl_ms=10_000)
        assert verdict.decision == "match", "signed with the new key"


async def test_till_client_acknowledges_result_expired(broker: Mosquitto, tmp_path: Path) -> None:
    async with running_play(broker, tmp_path, quick("expired")) as play:
        with pytest.raises(TillError) as refused:
            await play.till.ask(PHOTO, ttl_ms=1_000)
        assert refused.value.code == "result_expired"
        (ack,) = await play.until("ack")
        events = [json.loads(message.payload) for message in play.sent("event")]
        assert [json.loads(ack.payload)["result_id"]] == [e["result_id"] for e in events if "result_id" in e]
