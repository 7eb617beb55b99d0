"""Tills that repeat the same bytes until the request has an outcome, and acknowledge all results."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agent.config import MqttConfig
from agent.errors import TillError
from agent.kits.till.terminal_state import GET_STATE_S
from agent.messages.signing import PublicKey
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message

PHOTO = b"\xff\xd8 an enrolled photo \xff\xd9"
RESEND_S = 0.5
OUTAGE_MAX_S = 60.0  # a longer outage ends a request as lost
TTL_MS = 8_000


@dataclass
class SentRequest:
    """One request and all its results."""

    request_id: str
    payload: bytes
    results: Counter[bytes] = field(default_factory=Counter)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def end(self, outcome: str) -> None:
        if not self.ended.done():
            self.ended.set_result(outcome)


class PatientTill:
    """One till on one link. ``requests`` keeps every request; ``bad_signatures`` must stay 0."""

    def __init__(self, port: int, topics: Topics, name: str, terminal_key: PublicKey) -> None:
        self._topics, self.name, self._key = topics, name, terminal_key
        self.requests: dict[str, SentRequest] = {}
        self.bad_signatures = 0
        self.ends: Counter[str] = Counter()
        self._epoch: str | None = None
        self._has_epoch = asyncio.Event()
        own = {"event": 0, "result": 1, "state_copy": 1}
        filters = [(topics.state, 1), *((topics.verify(name, kind), qos) for kind, qos in own.items())]
        options = ClientOptions(f"chaos-{name}", filters, self._received, self._get_state)
        self.connection = Connection(MqttConfig(port=port, keepalive_s=5), options)

    async def request_until_ended(self) -> str:
        """The outcome of one request: ``result``, ``stale`` (never claimed), ``expired`` or ``lost``."""
        while self._epoch is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GET_STATE_S):
                    await self._has_epoch.wait()
            if self._epoch is None:
                await self._send("get_state", b"{}")
        request = self._new_request(self._epoch)
        try:
            async with asyncio.timeout(OUTAGE_MAX_S):
                while not request.ended.done():
                    await self._send("request", request.payload)
                    await asyncio.wait([request.ended], timeout=RESEND_S)
        except TimeoutError:
            request.end("lost")
        outcome = await request.ended
        self.ends[outcome] += 1
        return outcome

    def _new_request(self, epoch: str) -> SentRequest:
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
        request = self.requests[request_id] = SentRequest(request_id, json.dumps(tree).encode())
        return request

    async def _send(self, kind: str, payload: bytes) -> None:
        try:
            async with asyncio.timeout(5):
                await self.connection.publish(Message(self._topics.verify(self.name, kind), payload))
        except (TillError, TimeoutError):
            await asyncio.sleep(0.1)  # the broker is unreachable: the bytes are repeated later

    def _get_state(self) -> None:
        self._state_task = asyncio.get_running_loop().create_task(self._send("get_state", b"{}"))

    def _received(self, message: Message) -> None:
        tree = json.loads(message.payload)
        if message.topic.endswith(("/state", "/state_copy")):
            self._set_epoch(tree["epoch"] if tree["status"] in ("online", "degraded") else None)
        elif message.topic.endswith("/result"):
            self._accept_result(message.payload, tree)
        elif tree["event"] == "refused":
            self._handle_refusal(tree)

    def _set_epoch(self, epoch: str | None) -> None:
        self._epoch = epoch
        if epoch is None:
            self._has_epoch.clear()
        else:
            self._has_epoch.set()

    def _accept_result(self, payload: bytes, tree: dict[str, Any]) -> None:
        if not self._key.verify(tree["result"], tree["jws"], "result"):
            self.bad_signatures += 1
            return
        result = json.loads(tree["result"])
        request = self.requests[result["request_id"]]
        request.results[payload] += 1
        request.end("result")
        self._acknowledge(result["result_id"])

    def _acknowledge(self, result_id: str) -> None:
        ack = json.dumps({"schema": "facepay.ack/1", "result_id": result_id}).encode()
        self._ack_task = asyncio.get_running_loop().create_task(self._send("ack", ack))

    def _handle_refusal(self, tree: dict[str, Any]) -> None:
        if tree["refusal"] == "result_expired" and "result_id" in tree:
            self._acknowledge(tree["result_id"])
        request = self.requests.get(tree["request_id"] or "")
        if request is not None and tree["refusal"] == "request_stale":
            request.end("stale")
            self._get_state()  # perhaps the newest state was lost: ask for it
        elif request is not None and tree["refusal"] == "result_expired":
            request.end("expired")  # a late match: withheld by the terminal
