"""The till adapter of a terminal and a till, over a real mosquitto: the promises of the contract."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.config import Config, MqttConfig, StorageConfig
from agent.core.attempt_limits import AttemptLimits
from agent.core.model import Assurance, Result, Timings
from agent.core.reasons import Decision, FrameReason, Reason
from agent.core.verification_types import Limits
from agent.errors import TillError
from agent.kits.till.client import TillClient
from agent.messages.decode import DecodeRules, Trust, read_request
from agent.messages.encode import TerminalIdentity, result
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reason_codes import BrokerProblem
from agent.outbox.database import FILE
from agent.outbox.outbox import Outbox
from agent.root.wiring import make_settings
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.till.adapter import MqttTill
from agent.till.state_publisher import StateFacts
from tests.brokers import Mosquitto
from tests.fakes import PacedCamera, RealClock, ScriptedCompare, StagedAnalyzer, check_frame
from tests.messages.payloads import PHOTO, PHOTO_SHA256, fresh_id, tree
from tests.waits import until_accepted

LIMITS = Limits(hold_ms=30, retry_pause_ms=20, min_ask_ms=10)
TOPICS = Topics("shop", "terminal-1")


@dataclass
class RunningTerminal:
    """A running terminal with simulated frames (``eye``) and simulated answers of the compare API."""

    terminal: Terminal
    till: MqttTill
    analyzer: StagedAnalyzer
    compare: ScriptedCompare
    signer: Signer
    outbox: Outbox


GUARD = AttemptLimits()


@asynccontextmanager
async def terminal(
    port: int,
    folder: Path,
    epoch: str = "e-1",
    *,
    ack: Any = "till",
    shop: bool = False,
    trust: Trust | None = None,
    guard: AttemptLimits = GUARD,
    on_problem: Callable[[BrokerProblem], None] = lambda _problem: None,
) -> AsyncIterator[RunningTerminal]:
    """Serve until the block ends. ``shop``: requests need a send time, as outside profile demo."""
    clock, signer = RealClock(), Signer.load_or_create(folder)
    identity = TerminalIdentity("shop", "terminal-1", boot_id="boot-1", epoch=epoch)
    outbox = Outbox(
        StorageConfig(directory=folder), clock, "boot-1", lambda v, i: result(v, identity, i, signer)
    )
    facts = StateFacts(
        lambda: "online",
        dict,
        signer,
        lambda problem, active, _detail: on_problem(problem) if active else None,
    )
    config = MqttConfig(port=port, ack=ack)
    rules = DecodeRules(
        98_304, 10_000, trust=trust, site="shop", terminal="terminal-1", wall_ms=clock.unix_ms
    )
    till = MqttTill(config, identity, rules, outbox, clock, margin_ms=250, state_facts=facts)
    analyzer, compare = StagedAnalyzer(), ScriptedCompare()
    ports = Ports(clock, PacedCamera(), analyzer, compare, till, outbox, check_frame)
    served = Terminal(ports, Settings(epoch, LIMITS, 50, Assurance(), age_required=shop, guard=guard))
    stop = asyncio.Event()
    await till.start()
    task = asyncio.create_task(served.serve(stop))
    try:
        yield RunningTerminal(served, till, analyzer, compare, signer, outbox)
    finally:
        stop.set()
        await task
        await till.stop()
        await outbox.close()


@asynccontextmanager
async def till_client(port: int, running: RunningTerminal, name: str = "till-1") -> AsyncIterator[TillClient]:
    till = TillClient(MqttConfig(port=port), TOPICS, name, pinned=running.signer.public)
    await till.start()
    try:
        await till.online()
        yield till
    finally:
        await till.stop()


class RawTill:
    """A till that sends any bytes and receives all messages of its topics."""

    def __init__(self, port: int, name: str = "till-1", *topics: str) -> None:
        self.name = name
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.ready = asyncio.Event()
        filters = [(TOPICS.verify(name, "#"), 1), (TOPICS.state, 1), *((topic, 1) for topic in topics)]
        options = ClientOptions(f"raw_till-{fresh_id()}", filters, self.received.put_nowait, self.ready.set)
        self.connection = Connection(MqttConfig(port=port), options)

    async def send(self, kind: str, payload: bytes, *, retained: bool = False) -> None:
        await self.connection.publish(Message(TOPICS.verify(self.name, kind), payload, retained))

    async def next(self, kind: str) -> Message:
        """The next message of this kind; other messages are skipped."""
        async with asyncio.timeout(60):
            while True:
                message = await self.received.get()
                if message.topic.endswith(f"/{kind}"):
                    return message

    async def event(self, name: str) -> dict[str, Any]:
        while True:
            tree: dict[str, Any] = json.loads((await self.next("event")).payload)
            if tree["event"] == name:
                return tree

    async def online(self, epoch: str = "") -> None:
        """Wait for the state ``online``, of this epoch. The broker keeps the state of an earlier terminal."""
        while True:
            tree: dict[str, Any] = json.loads((await self.next("state")).payload)
            if tree["status"] == "online" and epoch in ("", tree["epoch"]):
                return

    async def refusal(self) -> str:
        return str((await self.event("refused"))["refusal"])


@asynccontextmanager
async def raw_till(
    port: int, name: str = "till-1", *topics: str, online: bool = True
) -> AsyncIterator[RawTill]:
    """``online``: a terminal is running; wait for its state."""
    till = RawTill(port, name, *topics)
    await till.connection.start()
    await asyncio.wait_for(till.ready.wait(), 60)
    if online:
        await till.online()
    try:
        yield till
    finally:
        await till.connection.stop()


def request_bytes(**changes: Any) -> bytes:
    return json.dumps(tree(**({"request_id": fresh_id()} | changes))).encode()


async def test_request_is_answered_and_acknowledged(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        verdict = await till.ask(PHOTO, ttl_ms=30_000)
        assert (verdict.decision, verdict.reason, verdict.similarity) == ("match", "same_person", 93.0)
        assert verdict.result["seq"] == 1 and verdict.result["epoch"] == "e-1"
        async with asyncio.timeout(60):
            while running.till.result_sender.open_count:  # noqa: ASYNC110 - no event for an ack
                await asyncio.sleep(0.02)
        assert await running.outbox.open_results() == []
        assert till.violations == []


async def test_repeated_request_gets_the_same_bytes_also_after_a_restart(
    broker: Mosquitto, tmp_path: Path
) -> None:
    request = request_bytes()
    async with raw_till(broker.port, online=False) as raw:
        async with terminal(broker.port, tmp_path) as running:
            await raw.online("e-1")
            await raw.send("request", request)
            first = (await raw.next("result")).payload
            await raw.send("request", request)
            assert (await raw.next("result")).payload == first
            assert running.compare.calls == [1]
        async with terminal(broker.port, tmp_path, epoch="e-2") as running:
            await raw.online("e-2")
            await raw.send("request", request)
            assert (await raw.next("result")).payload == first
            assert running.compare.calls == []


async def test_unacknowledged_result_is_sent_again_after_a_restart(broker: Mosquitto, tmp_path: Path) -> None:
    async with raw_till(broker.port, online=False) as raw:
        async with terminal(broker.port, tmp_path) as running:
            await raw.online("e-1")
            running.analyzer.stage = FrameReason.NO_FACE
            await raw.send("request", request_bytes(ttl_ms=1_000))
            first = (await raw.next("result")).payload
        async with terminal(broker.port, tmp_path, epoch="e-2"):
            assert (await raw.next("result")).payload == first


async def test_request_same_id_with_other_bytes_is_id_conflict(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as raw:
        request_id = fresh_id()
        await raw.send("request", request_bytes(request_id=request_id))
        await raw.next("result")
        await raw.send("request", request_bytes(request_id=request_id, transaction_id="another sale"))
        assert await raw.refusal() == "id_conflict"
        assert running.compare.calls == [1]


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (request_bytes(epoch="another boot"), "request_stale"),
        (b"{", "request_malformed"),
        (request_bytes(till="till-2"), "request_malformed"),
        (request_bytes(schema="facepay.request/9"), "schema_unsupported"),
        (b" " * 98_305, "request_too_large"),
    ],
    ids=["old epoch", "junk", "another till", "another schema", "oversize"],
)
async def test_invalid_request_is_refused_and_the_next_one_is_served(
    broker: Mosquitto, tmp_path: Path, payload: bytes, refusal: str
) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as raw:
        await raw.send("request", payload)
        assert await raw.refusal() == refusal
        await raw.send("request", request_bytes())
        text = json.loads((await raw.next("result")).payload)["result"]
        assert json.loads(text)["decision"] == "match" and running.compare.calls == [1]


async def test_retained_request_is_refused(broker: Mosquitto, tmp_path: Path) -> None:
    async with raw_till(broker.port, online=False) as raw:
        await raw.send("request", request_bytes(), retained=True)
        async with terminal(broker.port, tmp_path) as running:
            assert await raw.refusal() == "request_retained"
            assert running.compare.calls == []
        await raw.send("request", b"", retained=True)  # clear the retained message


async def test_only_state_is_retained(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        await till.ask(PHOTO, ttl_ms=30_000)
        async with raw_till(broker.port, "late", f"{TOPICS.base}/#") as late:
            await asyncio.sleep(0.3)
            while not late.received.empty():
                message = late.received.get_nowait()
                assert message.topic == TOPICS.state or not message.retained, message.topic
    async with raw_till(broker.port, online=False) as afterwards:
        await afterwards.send("request", request_bytes())  # no terminal is connected
    async with terminal(broker.port, tmp_path, epoch="e-3") as running:
        await asyncio.sleep(0.3)
        assert running.compare.calls == [], "a request sent while the terminal was offline is never executed"


async def test_cancel_before_the_result_ends_the_request(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        running.analyzer.stage = FrameReason.NO_FACE
        request = asyncio.create_task(till.ask(PHOTO, ttl_ms=60_000))
        await until_accepted(till)
        await till.cancel()
        verdict = await asyncio.wait_for(request, 60)
        assert (verdict.decision, verdict.reason) == ("undecided", "cancelled")


async def test_request_of_a_second_till_is_refused_as_busy(broker: Mosquitto, tmp_path: Path) -> None:
    async with (
        terminal(broker.port, tmp_path) as running,
        till_client(broker.port, running) as one,
        till_client(broker.port, running, "till-2") as two,
    ):
        running.analyzer.stage = FrameReason.NO_FACE
        first = asyncio.create_task(one.ask(PHOTO, ttl_ms=4_000))
        await until_accepted(one)
        with pytest.raises(TillError) as refused:
            await two.ask(PHOTO, ttl_ms=4_000)
        assert refused.value.code == "busy"
        assert (await first).reason == "no_face"


async def test_mqtt_3_1_1_till_receives_a_verifiable_result(broker: Mosquitto, tmp_path: Path) -> None:
    loop, payloads = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    old = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)

    def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        loop.call_soon_threadsafe(payloads.put_nowait, bytes(message.payload))

    old.on_message = on_message
    old.connect("127.0.0.1", broker.port)
    old.subscribe(TOPICS.verify("till-1", "result"), 1)
    old.loop_start()
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        await till.ask(PHOTO, ttl_ms=30_000)
        envelope = json.loads(await asyncio.wait_for(payloads.get(), 60))
        assert running.signer.public.verify(envelope["result"], envelope["jws"], "result")
        assert json.loads(envelope["result"])["decision"] == "match"
    old.disconnect()
    old.loop_stop()


async def test_result_has_the_fields_of_the_contract(broker: Mosquitto, tmp_path: Path) -> None:
    request = request_bytes(locale="zh-CN")
    async with terminal(broker.port, tmp_path), raw_till(broker.port) as raw:
        await raw.send("request", request)
        fields = json.loads(json.loads((await raw.next("result")).payload)["result"])
    assert fields["request_sha256"] == hashlib.sha256(request).hexdigest()
    assert fields["hint"] == {"zh-CN": "顾客与登记照片为同一人。"}
    assert fields["assurance"]["liveness"] == "not_checked"
    assert fields["assurance"]["reference_sha256"] == PHOTO_SHA256
    assert set(fields["timings_ms"]) == {"wait_face", "hold", "encode", "sign", "connect", "api", "total"}
    assert base64.b64encode(PHOTO).decode() not in json.dumps(fields)


# --- restarts and disconnected tills ----------------------------------------------------------------------


async def interrupted(folder: Path, epoch: str) -> str:
    """Claim a request, then settle the interrupted claim as the next process does. Returns the request id."""
    async with AsyncExitStack() as stack:
        clock, signer = RealClock(), Signer.load_or_create(folder)
        identity = TerminalIdentity("shop", "terminal-1", boot_id="boot-1", epoch="the next process")
        outbox = Outbox(
            StorageConfig(directory=folder), clock, "boot-1", lambda v, i: result(v, identity, i, signer)
        )
        stack.push_async_callback(outbox.close)
        request = read_request(
            request_bytes(epoch=epoch), "till-1", DecodeRules(98_304, 10_000), received_ms=0
        )
        await outbox.claim(request)
        (claimed,) = await outbox.interrupted_requests()
        ended = Result(claimed, Decision.UNDECIDED, Reason.INTERRUPTED, 0, None, Timings(), Assurance())
        stored = await outbox.settle(ended)
        fields = json.loads(json.loads(stored.payload)["result"])
        assert (fields["epoch"], fields["request_id"]) == (epoch, request.request_id)
        return request.request_id


async def test_interrupted_result_has_the_epoch_of_the_request_and_the_next_seq(tmp_path: Path) -> None:
    await interrupted(tmp_path, "e-1")
    await interrupted(tmp_path, "e-1")
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        payloads = [row[0] for row in db.execute("SELECT payload FROM result ORDER BY seq")]
    assert [json.loads(json.loads(each)["result"])["seq"] for each in payloads] == [1, 2]


async def test_till_acknowledges_a_result_of_an_earlier_process(broker: Mosquitto, tmp_path: Path) -> None:
    await interrupted(tmp_path, "e-0")
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        async with asyncio.timeout(60):
            while await running.outbox.open_results():  # noqa: ASYNC110 - no event for an ack
                await asyncio.sleep(0.02)
        assert till.violations == []


async def test_late_match_is_replaced_by_result_expired_until_acknowledged(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with terminal(broker.port, tmp_path) as running:
        async with raw_till(broker.port) as raw:
            await raw.send("request", request_bytes(ttl_ms=60_000))
            result_id = json.loads(json.loads((await raw.next("result")).payload)["result"])["result_id"]
        now_ms = RealClock.now_ms
        monkeypatch.setattr(RealClock, "now_ms", lambda clock: now_ms(clock) + 61_000)
        # the match is not acknowledged, and its time is over
        async with raw_till(broker.port) as raw:
            for _ in range(2):
                event = await raw.event("refused")
                assert (event["refusal"], event["result_id"]) == ("result_expired", result_id)
            while not raw.received.empty():
                assert not raw.received.get_nowait().topic.endswith("/result"), "a late match"
        async with till_client(broker.port, running):
            async with asyncio.timeout(60):
                while running.till.result_sender.open_count:  # noqa: ASYNC110 - no event for an ack
                    await asyncio.sleep(0.02)
        assert running.till.result_sender.withheld == 1
        assert await running.outbox.open_results() == []


async def test_photo_over_the_limit_is_refused_by_the_till_client(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        with pytest.raises(TillError, match=r"80000 bytes.*60000") as refused:
            await till.ask(b"x" * 80_000, ttl_ms=60_000)
        assert refused.value.code == "request_too_large"


async def test_request_over_the_limit_is_refused_by_the_terminal(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        with pytest.raises(TillError, match="98304") as refused:
            await till.ask(PHOTO, ttl_ms=60_000, more={"padding": "x" * 98_304})
        assert refused.value.code == "request_too_large"


async def test_refusal_without_id_ends_the_open_request(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, till_client(broker.port, running) as till:
        running.analyzer.stage = FrameReason.NO_FACE
        request = asyncio.create_task(till.ask(PHOTO, ttl_ms=60_000))
        await until_accepted(till)
        async with raw_till(broker.port) as raw:
            await raw.send("request", b"{")
        with pytest.raises(TillError) as refused:
            await asyncio.wait_for(request, 60)
        assert refused.value.code == "request_malformed"


@pytest.mark.parametrize(
    ("age_ms", "outcome"),
    [(None, "request_stale"), (24_000, "request_stale"), (0, "match"), (-60_000, "request_stale")],
    ids=["no send time", "held for 24 s by a bridge", "just sent", "from the future"],
)
async def test_mqtt_3_1_1_request_with_wrong_age_is_stale(
    broker: Mosquitto, tmp_path: Path, age_ms: int | None, outcome: str
) -> None:
    sent_at_ms = None if age_ms is None else RealClock().unix_ms() - age_ms
    old = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    async with terminal(broker.port, tmp_path, shop=True) as running, raw_till(broker.port) as raw:
        old.connect("127.0.0.1", broker.port)
        old.loop_start()
        old.publish(
            TOPICS.verify("till-1", "request"), request_bytes(ttl_ms=20_000, sent_at_ms=sent_at_ms), 1
        )
        if outcome == "match":
            fields = json.loads(json.loads((await raw.next("result")).payload)["result"])
            assert fields["decision"] == "match"
        else:
            assert await raw.refusal() == outcome
            assert running.compare.calls == []
    old.disconnect()
    old.loop_stop()


@pytest.mark.parametrize(("profile", "strict"), [("shop", True), ("demo", False)])
def test_request_of_unknown_age_is_accepted_in_demo_only(profile: str, strict: bool, tmp_path: Path) -> None:
    config = Config(profile=profile, storage=StorageConfig(directory=tmp_path))  # type: ignore[arg-type]
    assert make_settings(config, "e-1").age_required is strict
