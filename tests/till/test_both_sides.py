"""A real terminal's till side and a till, over a real mosquitto: what each may rely on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.config import Config, MqttConfig, StorageConfig
from agent.core.model import Assurance, Result, Timings
from agent.core.reasons import Decision, FrameReason, Reason
from agent.core.steps import Limits
from agent.errors import TillError
from agent.kits.till.client import TillClient
from agent.messages.decode import DecodeRules, Trust, read_request
from agent.messages.encode import TerminalIdentity, result
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring
from agent.outbox.database import FILE
from agent.outbox.outbox import Outbox
from agent.root.wiring import make_settings
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.till.adapter import MqttTill, StateFacts
from tests.brokers import Mosquitto
from tests.fakes import PacedCamera, RealClock, ScriptedCompare, StagedEye, glance
from tests.messages.payloads import PHOTO, PHOTO_SHA256, fresh_id, tree

LIMITS = Limits(hold_ms=30, retry_pause_ms=20, min_ask_ms=10)
TOPICS = Topics("shop", "terminal-1")


@dataclass
class Side:
    """The terminal, with what a story may turn: the stage in front of it, and the API's answers."""

    terminal: Terminal
    till: MqttTill
    eye: StagedEye
    compare: ScriptedCompare
    signer: Signer
    outbox: Outbox


@asynccontextmanager
async def terminal(
    port: int,
    folder: Path,
    epoch: str = "e-1",
    *,
    ack: Any = "till",
    shop: bool = False,
    trust: Trust | None = None,
) -> AsyncIterator[Side]:
    """``shop``: requests must show their age, as outside profile demo."""
    clock, signer = RealClock(), Signer.load_or_create(folder)
    who = TerminalIdentity("shop", "terminal-1", boot_id="boot-1", epoch=epoch)
    outbox = Outbox(StorageConfig(directory=folder), clock, "boot-1", lambda v, i: result(v, who, i, signer))
    facts = StateFacts(lambda: "online", dict)
    config = MqttConfig(port=port, ack=ack)
    rules = DecodeRules(
        98_304, 10_000, trust=trust, site="shop", terminal="terminal-1", wall_ms=clock.unix_ms
    )
    till = MqttTill(config, who, rules, outbox, clock, margin_ms=250, state_facts=facts)
    eye, compare = StagedEye(), ScriptedCompare()
    ports = Ports(clock, PacedCamera(), eye, compare, till, outbox, glance)
    made = Terminal(ports, Settings(epoch, LIMITS, 50, Assurance(), age_required=shop))
    stop = asyncio.Event()
    await till.start()
    task = asyncio.create_task(made.serve(stop))
    try:
        yield Side(made, till, eye, compare, signer, outbox)
    finally:
        stop.set()
        await task
        await till.stop()
        await outbox.close()


@asynccontextmanager
async def customer(port: int, side: Side, name: str = "till-1") -> AsyncIterator[TillClient]:
    till = TillClient(MqttConfig(port=port), TOPICS, name, pinned=side.signer.public)
    await till.start()
    try:
        await till.online()
        yield till
    finally:
        await till.stop()


class Wire:
    """A till that sends whatever bytes a story wants, and hears everything."""

    def __init__(self, port: int, name: str = "till-1", *more: str) -> None:
        self.name = name
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.up = asyncio.Event()
        filters = [(TOPICS.verify(name, "#"), 1), (TOPICS.state, 1), *((topic, 1) for topic in more)]
        wiring = Wiring(f"wire-{fresh_id()}", filters, self.heard.put_nowait, self.up.set)
        self.link = Connection(MqttConfig(port=port), wiring)

    async def send(self, kind: str, payload: bytes, *, retained: bool = False) -> None:
        await self.link.publish(Message(TOPICS.verify(self.name, kind), payload, retained))

    async def next(self, kind: str) -> Message:
        """The next message on this kind's topic; others are passed over."""
        async with asyncio.timeout(15):
            while True:
                message = await self.heard.get()
                if message.topic.endswith(f"/{kind}"):
                    return message

    async def event(self, name: str) -> dict[str, Any]:
        while True:
            said: dict[str, Any] = json.loads((await self.next("event")).payload)
            if said["event"] == name:
                return said

    async def refusal(self) -> str:
        return str((await self.event("refused"))["refusal"])


@asynccontextmanager
async def wire(port: int, name: str = "till-1", *more: str) -> AsyncIterator[Wire]:
    made = Wire(port, name, *more)
    await made.link.start()
    await asyncio.wait_for(made.up.wait(), 15)
    await made.next("state")
    try:
        yield made
    finally:
        await made.link.stop()


def ask_bytes(**changes: Any) -> bytes:
    return json.dumps(tree(**({"request_id": fresh_id()} | changes))).encode()


async def test_ask_answer_acknowledge(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        verdict = await till.ask(PHOTO, ttl_ms=5_000)
        assert (verdict.decision, verdict.reason, verdict.similarity) == ("match", "same_person", 93.0)
        assert verdict.result["seq"] == 1 and verdict.result["epoch"] == "e-1"
        async with asyncio.timeout(10):
            while side.till.courier.depth:  # noqa: ASYNC110 - the ack arrives when it arrives
                await asyncio.sleep(0.02)
        assert await side.outbox.open_results() == []
        assert till.violations == []


async def test_the_same_bytes_get_the_same_bytes_also_after_a_restart(
    broker: Mosquitto, tmp_path: Path
) -> None:
    question = ask_bytes()
    async with wire(broker.port) as till_wire:
        async with terminal(broker.port, tmp_path) as side:
            await till_wire.next("state")
            await till_wire.send("request", question)
            first = (await till_wire.next("result")).payload
            await till_wire.send("request", question)
            assert (await till_wire.next("result")).payload == first
            assert side.compare.asked == [1]
        async with terminal(broker.port, tmp_path, epoch="e-2") as side:
            await till_wire.send("request", question)
            assert (await till_wire.next("result")).payload == first
            assert side.compare.asked == []


async def test_an_unacknowledged_result_is_sent_again_by_the_next_process(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with wire(broker.port) as till_wire:
        async with terminal(broker.port, tmp_path) as side:
            await till_wire.next("state")
            side.eye.stage = FrameReason.NO_FACE
            await till_wire.send("request", ask_bytes(ttl_ms=1_000))
            first = (await till_wire.next("result")).payload
        async with terminal(broker.port, tmp_path, epoch="e-2"):
            assert (await till_wire.next("result")).payload == first


async def test_one_id_with_other_bytes_conflicts(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as side, wire(broker.port) as till_wire:
        request_id = fresh_id()
        await till_wire.send("request", ask_bytes(request_id=request_id))
        await till_wire.next("result")
        await till_wire.send("request", ask_bytes(request_id=request_id, transaction_id="another sale"))
        assert await till_wire.refusal() == "id_conflict"
        assert side.compare.asked == [1]


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (ask_bytes(epoch="another boot's"), "request_stale"),
        (b"{", "request_malformed"),
        (ask_bytes(till="till-2"), "request_malformed"),
        (ask_bytes(schema="facepay.request/9"), "schema_unsupported"),
        (b" " * 98_305, "request_too_large"),
    ],
    ids=["old epoch", "junk", "another till's", "another schema", "oversize"],
)
async def test_a_bad_request_is_one_event_and_service_goes_on(
    broker: Mosquitto, tmp_path: Path, payload: bytes, refusal: str
) -> None:
    async with terminal(broker.port, tmp_path) as side, wire(broker.port) as till_wire:
        await till_wire.send("request", payload)
        assert await till_wire.refusal() == refusal
        await till_wire.send("request", ask_bytes())
        text = json.loads((await till_wire.next("result")).payload)["result"]
        assert json.loads(text)["decision"] == "match" and side.compare.asked == [1]


async def test_a_retained_request_is_an_old_sales_and_refused(broker: Mosquitto, tmp_path: Path) -> None:
    async with wire(broker.port) as till_wire:
        await till_wire.send("request", ask_bytes(), retained=True)
        async with terminal(broker.port, tmp_path) as side:
            assert await till_wire.refusal() == "request_retained"
            assert side.compare.asked == []
        await till_wire.send("request", b"", retained=True)  # take it away again


async def test_nothing_but_state_is_retained_and_its_will_says_offline(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        await till.ask(PHOTO, ttl_ms=5_000)
        async with wire(broker.port, "late", f"{TOPICS.base}/#") as newcomer:
            await asyncio.sleep(0.3)
            while not newcomer.heard.empty():
                late = newcomer.heard.get_nowait()
                assert late.topic == TOPICS.state or not late.retained, late.topic
    async with wire(broker.port) as afterwards:
        await afterwards.send("request", ask_bytes())  # nobody is there: nothing must come of it
    async with terminal(broker.port, tmp_path, epoch="e-3") as side:
        await asyncio.sleep(0.3)
        assert side.compare.asked == [], "a request sent while the terminal was away is never executed"


async def test_cancel_wins_when_it_comes_first(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        side.eye.stage = FrameReason.NO_FACE
        asking = asyncio.create_task(till.ask(PHOTO, ttl_ms=8_000))
        await asyncio.sleep(0.2)
        await till.cancel()
        verdict = await asyncio.wait_for(asking, 5)
        assert (verdict.decision, verdict.reason) == ("undecided", "cancelled")


async def test_busy_is_said_to_the_second_till(broker: Mosquitto, tmp_path: Path) -> None:
    async with (
        terminal(broker.port, tmp_path) as side,
        customer(broker.port, side) as one,
        customer(broker.port, side, "till-2") as two,
    ):
        side.eye.stage = FrameReason.NO_FACE
        first = asyncio.create_task(one.ask(PHOTO, ttl_ms=2_000))
        await asyncio.sleep(0.2)
        with pytest.raises(TillError) as refused:
            await two.ask(PHOTO, ttl_ms=2_000)
        assert refused.value.code == "busy"
        assert (await first).reason == "no_face"


async def test_an_old_till_on_mqtt_3_1_1_reads_the_result(broker: Mosquitto, tmp_path: Path) -> None:
    loop, got = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    old = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)

    def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        loop.call_soon_threadsafe(got.put_nowait, bytes(message.payload))

    old.on_message = on_message
    old.connect("127.0.0.1", broker.port)
    old.subscribe(TOPICS.verify("till-1", "result"), 1)
    old.loop_start()
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        await till.ask(PHOTO, ttl_ms=5_000)
        envelope = json.loads(await asyncio.wait_for(got.get(), 10))
        assert side.signer.public.verify(envelope["result"], envelope["jws"], "result")
        assert json.loads(envelope["result"])["decision"] == "match"
    old.disconnect()
    old.loop_stop()


async def test_a_result_says_what_the_contract_promises(broker: Mosquitto, tmp_path: Path) -> None:
    question = ask_bytes(locale="zh-CN")
    async with terminal(broker.port, tmp_path), wire(broker.port) as till_wire:
        await till_wire.send("request", question)
        told = json.loads(json.loads((await till_wire.next("result")).payload)["result"])
    assert told["request_sha256"] == hashlib.sha256(question).hexdigest()
    assert told["hint"] == {"zh-CN": "顾客与登记照片为同一人。"}
    assert told["assurance"]["liveness"] == "not_checked"
    assert told["assurance"]["reference_sha256"] == PHOTO_SHA256
    assert set(told["timings_ms"]) == {"wait_face", "hold", "encode", "sign", "connect", "api", "total"}
    assert base64.b64encode(PHOTO).decode() not in json.dumps(told)


# --- restarts, and a till that was away -----------------------------------------------------------------


async def interrupted(folder: Path, epoch: str) -> str:
    """A claim as a crash leaves it, settled as the next process does; its request id."""
    async with AsyncExitStack() as stack:
        clock, signer = RealClock(), Signer.load_or_create(folder)
        who = TerminalIdentity("shop", "terminal-1", boot_id="boot-1", epoch="the next process")
        outbox = Outbox(
            StorageConfig(directory=folder), clock, "boot-1", lambda v, i: result(v, who, i, signer)
        )
        stack.push_async_callback(outbox.close)
        request = read_request(ask_bytes(epoch=epoch), "till-1", DecodeRules(98_304, 10_000), received_ms=0)
        await outbox.claim(request)
        (left,) = await outbox.interrupted()
        ended = Result(left, Decision.UNDECIDED, Reason.INTERRUPTED, 0, None, Timings(), Assurance())
        stored = await outbox.settle(ended)
        told = json.loads(json.loads(stored.payload)["result"])
        assert (told["epoch"], told["request_id"]) == (epoch, request.request_id)
        return request.request_id


async def test_an_interrupted_result_has_the_requests_epoch_and_seq_goes_on(tmp_path: Path) -> None:
    await interrupted(tmp_path, "e-1")
    await interrupted(tmp_path, "e-1")
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        payloads = [row[0] for row in db.execute("SELECT payload FROM result ORDER BY seq")]
    assert [json.loads(json.loads(each)["result"])["seq"] for each in payloads] == [1, 2]


async def test_a_till_acknowledges_what_its_earlier_process_was_sent(
    broker: Mosquitto, tmp_path: Path
) -> None:
    await interrupted(tmp_path, "e-0")
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        async with asyncio.timeout(15):
            while await side.outbox.open_results():  # noqa: ASYNC110 - the ack arrives when it arrives
                await asyncio.sleep(0.02)
        assert till.violations == []


async def test_a_till_that_was_away_gets_result_expired_until_it_acknowledges(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with terminal(broker.port, tmp_path) as side:
        async with wire(broker.port) as till_wire:
            await till_wire.send("request", ask_bytes(ttl_ms=1_000))
            result_id = json.loads(json.loads((await till_wire.next("result")).payload)["result"])[
                "result_id"
            ]
        await asyncio.sleep(1.2)  # the match is not acknowledged, and its time is over
        async with wire(broker.port) as till_wire:
            for _ in range(2):
                event = await till_wire.event("refused")
                assert (event["refusal"], event["result_id"]) == ("result_expired", result_id)
            while not till_wire.heard.empty():
                assert not till_wire.heard.get_nowait().topic.endswith("/result"), "a late match"
        async with customer(broker.port, side):
            async with asyncio.timeout(15):
                while side.till.courier.depth:  # noqa: ASYNC110 - the ack arrives when it arrives
                    await asyncio.sleep(0.02)
        assert side.till.courier.withheld == 1
        assert await side.outbox.open_results() == []


async def test_a_photo_that_is_too_large_is_refused_before_it_is_sent(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        with pytest.raises(TillError, match=r"80000 bytes.*60000") as refused:
            await till.ask(b"x" * 80_000, ttl_ms=60_000)
        assert refused.value.code == "request_too_large"


async def test_the_terminals_refusal_of_a_large_request_is_the_answer(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        with pytest.raises(TillError, match="98304") as refused:
            await till.ask(PHOTO, ttl_ms=60_000, more={"padding": "x" * 98_304})
        assert refused.value.code == "request_too_large"


async def test_a_refusal_without_id_answers_the_open_request(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as side, customer(broker.port, side) as till:
        side.eye.stage = FrameReason.NO_FACE
        asking = asyncio.create_task(till.ask(PHOTO, ttl_ms=60_000))
        await asyncio.sleep(0.2)
        async with wire(broker.port) as till_wire:
            await till_wire.send("request", b"{")
        with pytest.raises(TillError) as refused:
            await asyncio.wait_for(asking, 15)
        assert refused.value.code == "request_malformed"


@pytest.mark.parametrize(
    ("age_ms", "answer"),
    [(None, "request_stale"), (24_000, "request_stale"), (0, "match"), (-60_000, "request_stale")],
    ids=["no send time", "held for 24 s by a bridge", "just sent", "from the future"],
)
async def test_an_old_request_of_a_3_1_1_till_is_stale_in_its_own_epoch(
    broker: Mosquitto, tmp_path: Path, age_ms: int | None, answer: str
) -> None:
    sent_at_ms = None if age_ms is None else RealClock().unix_ms() - age_ms
    old = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    async with terminal(broker.port, tmp_path, shop=True) as side, wire(broker.port) as till_wire:
        old.connect("127.0.0.1", broker.port)
        old.loop_start()
        old.publish(TOPICS.verify("till-1", "request"), ask_bytes(ttl_ms=20_000, sent_at_ms=sent_at_ms), 1)
        if answer == "match":
            told = json.loads(json.loads((await till_wire.next("result")).payload)["result"])
            assert told["decision"] == "match"
        else:
            assert await till_wire.refusal() == answer
            assert side.compare.asked == []
    old.disconnect()
    old.loop_stop()


@pytest.mark.parametrize(("profile", "strict"), [("shop", True), ("demo", False)])
def test_only_the_demo_takes_a_request_of_unknown_age(profile: str, strict: bool, tmp_path: Path) -> None:
    config = Config(profile=profile, storage=StorageConfig(directory=tmp_path))  # type: ignore[arg-type]
    assert make_settings(config, "e-1").age_required is strict
