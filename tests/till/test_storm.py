"""Random events: two tills in any order, killed brokers, restarts and reloads of the terminal.

Each request has at most one result, always as the same bytes, for bytes that its till sent. A match requires
a similarity above the threshold for that request and arrives in time. Every claim gets a result.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sqlite3
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.core.model import Assurance
from agent.core.reasons import FrameReason
from agent.errors import CompareUnreachable, TillError
from agent.messages.topics import CANCEL, REQUEST, RESULT
from agent.outbox.database import FILE
from agent.terminal.parts import Settings
from tests.brokers import Mosquitto
from tests.fakes import Answer
from tests.messages.payloads import fresh_id
from tests.terminal.test_terminal import LIMITS
from tests.till.test_both_sides import RawTill, RunningTerminal, request_bytes, terminal

TILLS = ("till-1", "till-2")
STAGES = (
    FrameReason.SHOT,
    FrameReason.SHOT,
    FrameReason.SHOT,
    FrameReason.NO_FACE,
    FrameReason.MULTIPLE_FACES,
)
ANSWERS: tuple[Answer, ...] = (93.0, 93.0, 20.0, CompareUnreachable("away"))
TTL_MS = 2_000
GRACE_S = 0.3
BEAT_S = 0.02
STEPS = 60


@dataclass
class Sent:
    """One request id of a till. A refused request may be sent again; its time then starts again."""

    till: str
    payload: bytes
    sent_at_s: list[float] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)  # of all payloads that were sent with this id
    results: set[bytes] = field(default_factory=set)  # all received results
    received_at_s: list[float] = field(default_factory=list)

    def is_late(self, stop_s: float) -> bool:
        """Whether a result arrived too late, counted from a sending or from the first arrival.

        ``stop_s``: a stopped loop handles a message this much later than it arrives.
        """
        most_s = TTL_MS / 1e3 + GRACE_S + stop_s
        first_s = min(self.received_at_s)
        in_time = any(at_s <= first_s <= at_s + most_s for at_s in self.sent_at_s)
        return not in_time or max(self.received_at_s) > first_s + most_s


class Storm:
    def __init__(self, seed: int, broker: Mosquitto, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.broker, self.folder = broker, folder
        self.sent = dict[str, Sent]()
        self.similarities = defaultdict[str, list[float]](list)
        self.tills = {name: RawTill(broker.port, name) for name in TILLS}
        self.epochs = 0
        self.unknown_results = 0
        self.longest_stop_s = 0.0  # of the loop of the tills
        self._stack = AsyncExitStack()

    async def play(self) -> None:
        listeners = [asyncio.create_task(self._listen(name)) for name in TILLS]
        listeners.append(asyncio.create_task(self._observe_stops()))
        for till in self.tills.values():
            await till.connection.start()
        await self.restart()
        actions = (
            [self.ask] * 8 + [self.repeat] * 4 + [self.conflict] * 2 + [self.cancel] * 3 + [self.change] * 4
        )
        actions += [self.reload, self.restart, self.kill_the_broker]
        for _ in range(STEPS):
            await self.dice.choice(actions)()
            await asyncio.sleep(self.dice.choice((0.0, 0.0, 0.01, 0.05, 0.2)))
        await asyncio.sleep(TTL_MS / 1e3)  # the deadline of the last request is over
        await self.restart()  # settles interrupted claims
        await asyncio.sleep(0.5)
        await self._end()
        for till in self.tills.values():
            await till.connection.stop()
        for listener in listeners:
            assert not listener.done(), "a listener ended"
            listener.cancel()

    # --- events -----------------------------------------------------------------------------------

    async def ask(self) -> None:
        till, request_id = self.dice.choice(TILLS), fresh_id()
        payload = request_bytes(request_id=request_id, till=till, ttl_ms=TTL_MS, epoch=f"e-{self.epochs}")
        self.sent[request_id] = Sent(till, payload)
        await self._put(self.sent[request_id], payload)

    async def repeat(self) -> None:
        if self.sent:
            sent = self.dice.choice(list(self.sent.values()))
            await self._put(sent, sent.payload)

    async def conflict(self) -> None:
        if self.sent:
            sent = self.dice.choice(list(self.sent.values()))
            other = json.loads(sent.payload) | {"transaction_id": "another sale"}
            await self._put(sent, json.dumps(other).encode())

    async def cancel(self) -> None:
        if self.sent:
            request_id = self.dice.choice(list(self.sent)[-3:])
            tree = {"schema": "facepay.cancel/1", "request_id": request_id}
            await self._send(self.dice.choice(TILLS), CANCEL, json.dumps(tree).encode())

    async def change(self) -> None:
        self.running.analyzer.stage = self.dice.choice(STAGES)
        self.running.analyzer.track = self.dice.choice((1, 1, 1, 2))
        self.running.compare.answers = [self.dice.choice(ANSWERS)]
        self.running.compare.delay_s = self.dice.choice((0.0, 0.0, 0.1, 0.4))

    async def reload(self) -> None:
        limits = replace(LIMITS, hold_ms=self.dice.choice((0, 60, 200)))
        settings = Settings(f"e-{self.epochs}", limits, 50, Assurance())
        self.running.terminal.apply_settings(settings, lambda *_: None, lambda: None)

    async def restart(self) -> None:
        await self._end()
        self.epochs += 1
        self.running: RunningTerminal = await self._stack.enter_async_context(
            terminal(self.broker.port, self.folder, f"e-{self.epochs}")
        )

    async def kill_the_broker(self) -> None:
        self.broker.kill()
        await asyncio.sleep(self.dice.choice((0.0, 0.3)))
        self.broker.start()

    # --- tills and results ------------------------------------------------------------------------

    async def _end(self) -> None:
        await self._stack.aclose()
        if self.epochs:
            for request_id, similarity in self.running.compare.answered:
                self.similarities[request_id].append(similarity)

    async def _put(self, sent: Sent, payload: bytes) -> None:
        sent.sent_at_s.append(time.monotonic())
        sent.digests.add(hashlib.sha256(payload).hexdigest())
        await self._send(sent.till, REQUEST, payload)

    async def _send(self, till: str, kind: str, payload: bytes) -> None:
        with contextlib.suppress(TillError):  # no broker: the message is not sent
            await self.tills[till].send(kind, payload)

    async def _observe_stops(self) -> None:
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(BEAT_S)
            self.longest_stop_s = max(self.longest_stop_s, time.monotonic() - began_s - BEAT_S)

    async def _listen(self, till: str) -> None:
        while True:
            message = await self.tills[till].received.get()
            if not message.topic.endswith(f"/{RESULT}"):
                continue
            payload = message.payload
            sent = self.sent.get(_result_in(payload)["request_id"])
            if sent is None or sent.till != till:
                self.unknown_results += 1
                continue
            sent.results.add(payload)
            sent.received_at_s.append(time.monotonic())

    def rows(self, table: str) -> list[Any]:
        db = sqlite3.connect(self.folder / FILE)
        try:
            return db.execute(f"SELECT till, request_id FROM {table} ORDER BY 1, 2").fetchall()
        finally:
            db.close()


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(each, marks=pytest.mark.long) for each in range(3, 20))]
)
async def test_storm_each_request_has_one_valid_result(seed: int, tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    storm = Storm(seed, broker, tmp_path / "state")
    try:
        await storm.play()
    finally:
        broker.stop()
    answered = [(request_id, sent) for request_id, sent in storm.sent.items() if sent.results]
    assert answered, "at least one result is needed"
    assert storm.unknown_results == 0
    assert storm.rows("claim") == storm.rows("result"), "each claim has one result"
    for request_id, sent in answered:
        (payload,) = sent.results
        tree = _result_in(payload)
        assert tree["request_sha256"] in sent.digests
        if tree["decision"] != "undecided":
            is_match = tree["decision"] == "match"
            assert (storm.similarities[request_id][-1] >= 80.0) is is_match, "the answer of the API"
            assert not (is_match and sent.is_late(storm.longest_stop_s))


def _result_in(payload: bytes) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(json.loads(payload)["result"])
    return tree
