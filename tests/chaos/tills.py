"""Tills that never give up: the same bytes again until the request has an end. They ack all results."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.config import MqttConfig
from agent.errors import TillError
from agent.messages.signing import PublicKey
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring

PHOTO = b"\xff\xd8 an enrolled photo \xff\xd9"
RESEND_S = 0.5
PATIENCE_S = 60.0  # an outage of this length ends a request as lost
TTL_MS = 8_000


@dataclass
class Asked:
    """One request and everything that came back for it."""

    request_id: str
    payload: bytes
    results: Counter[bytes] = field(default_factory=Counter)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, how: str) -> None:
        if not self.ended.done():
            self.ended.set_result(how)


class PatientTill:
    """One till on one link. ``asked`` keeps every request; ``bad_signatures`` must stay 0."""

    def __init__(self, port: int, topics: Topics, name: str, terminal_key: PublicKey) -> None:
        self._topics, self.name, self._key = topics, name, terminal_key
        self.asked: dict[str, Asked] = {}
        self.bad_signatures = 0
        self.ends: Counter[str] = Counter()
        self._epoch: str | None = None
        filters = [(topics.state, 1), (topics.verify(name, "event"), 0), (topics.verify(name, "result"), 1)]
        wiring = Wiring(f"chaos-{name}", filters, self._heard, lambda: None)
        self.link = Connection(MqttConfig(port=port, keepalive_s=5), wiring)

    async def ask_until_ended(self) -> str:
        """One request to its end: ``result``, ``stale`` (never claimed), ``expired`` or ``lost``."""
        while self._epoch is None:  # noqa: ASYNC110 - no state yet: nothing to ask with
            await asyncio.sleep(0.05)
        asked = self._new(self._epoch)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not asked.ended.done():
                    await self._send("request", asked.payload)
                    await asyncio.wait([asked.ended], timeout=RESEND_S)
        except TimeoutError:
            asked.end("lost")
        how = await asked.ended
        self.ends[how] += 1
        return how

    def _new(self, epoch: str) -> Asked:
        request_id = str(uuid.uuid4())
        tree = {
            "schema": "facepay.request/1",
            "request_id": request_id,
            "till": self.name,
            "transaction_id": "sale",
            "nonce": secrets.token_hex(16),
            "epoch": epoch,
            "ttl_ms": TTL_MS,
            "reference": {
                "image_b64": base64.b64encode(PHOTO).decode(),
                "sha256": hashlib.sha256(PHOTO).hexdigest(),
            },
        }
        asked = self.asked[request_id] = Asked(request_id, json.dumps(tree).encode())
        return asked

    async def _send(self, kind: str, payload: bytes) -> None:
        try:
            async with asyncio.timeout(5):
                await self.link.publish(Message(self._topics.verify(self.name, kind), payload))
        except (TillError, TimeoutError):
            await asyncio.sleep(0.1)  # the broker is away: the same bytes again, later

    def _heard(self, message: Message) -> None:
        tree = json.loads(message.payload)
        if message.topic == self._topics.state:
            self._epoch = tree["epoch"] if tree["status"] in ("online", "degraded") else None
        elif message.topic.endswith("/result"):
            self._result(message.payload, tree)
        elif tree["event"] == "refused":
            self._refused(tree)

    def _result(self, payload: bytes, tree: dict[str, Any]) -> None:
        if not self._key.verify(tree["result"], tree["jws"], "result"):
            self.bad_signatures += 1
            return
        said = json.loads(tree["result"])
        asked = self.asked[said["request_id"]]
        asked.results[payload] += 1
        asked.end("result")
        ack = json.dumps({"schema": "facepay.ack/1", "result_id": said["result_id"]}).encode()
        self._acking = asyncio.get_running_loop().create_task(self._send("ack", ack))

    def _refused(self, tree: dict[str, Any]) -> None:
        asked = self.asked.get(tree["request_id"] or "")
        if asked is not None and tree["refusal"] == "request_stale":
            asked.end("stale")
        elif asked is not None and tree["refusal"] == "result_expired":
            asked.end("expired")  # a match that came too late: withheld, kept for audit
