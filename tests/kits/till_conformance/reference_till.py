"""A till in one file, written from docs/reference/till-contract.md; uses paho and cryptography only.

The till follows all acceptance rules. Each method ``is_…`` is one rule.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
import uuid
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

PHOTO = b"\xff\xd8 the enrolled photo \xff\xd9"


class ReferenceTill:
    """One sale at a time. All methods except ``start`` and ``stop`` run on paho's network thread."""

    protocol = MQTTProtocolVersion.MQTTv5
    get_state_s = 5.0  # until a state arrives

    def __init__(self, port: int, pinned: bytes, address: tuple[str, str, str], ttl_ms: int = 4_000) -> None:
        self.port, self.ttl_ms = port, ttl_ms
        self.site, self.terminal, self.till = address
        self.base = f"facepay/v1/{self.site}/{self.terminal}"
        key = load_pem_public_key(pinned)
        assert isinstance(key, Ed25519PublicKey)
        self.key, self.old_key, self.new_epochs = key, key, set[str]()  # equal until a rotation
        self.old_until_s = 0.0
        self.epoch = ""
        self.open: dict[str, Any] | None = None  # the fields that a result must repeat
        self.deadline_s = 0.0
        self.cancelled = False
        self.has_state, self.again = True, threading.Timer(0, self.get_state)
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=self.protocol)
        self.client.on_connect = lambda *_: self.subscribe()
        self.client.on_subscribe = lambda *_: self.subscribed()
        self.client.on_message = lambda _client, _data, message: self.on_message(message)

    def start(self) -> None:
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.again.cancel()

    def subscribe(self) -> None:
        own = [f"verify/{self.till}/{kind}" for kind in ("event", "result", "state_copy")]
        topics = ["state", *own, f"conformance/{self.till}/do"]  # the last one: test mode
        self.client.subscribe([(f"{self.base}/{topic}", 1) for topic in topics])

    def subscribed(self) -> None:
        self.has_state = False
        self.get_state()

    def get_state(self) -> None:
        """Ask, again until a state arrives: the broker may retain none, and a copy can be lost."""
        self.again.cancel()
        if not self.has_state:
            self.send("get_state", b"{}")
            self.again = threading.Timer(self.get_state_s, self.get_state)
            self.again.daemon = True
            self.again.start()

    def on_message(self, message: MQTTMessage) -> None:
        try:
            tree = json.loads(message.payload)
        except ValueError:
            return
        match message.topic.rsplit("/", 1)[1]:
            case "state":
                self.on_state(tree)
            case "state_copy":
                self.on_state_copy(tree)
            case "event":
                self.on_event(tree)
            case "result":
                self.on_result(tree, retained=message.retain)
            case "do":
                {"ask": self.ask, "cancel": self.cancel, "restart": self.restart}[tree["do"]]()

    def on_state(self, envelope: dict[str, Any]) -> None:
        """Only the text counts, and only if the pinned key, or its successor, signed it."""
        fields = json.loads(envelope.get("state", "{}"))
        self.follow(fields, envelope)
        if self.is_state_signed(envelope) and self.is_here(fields):
            self.epoch, self.has_state = fields["epoch"], True
            self.new_epochs.add(self.epoch)  # since the rotation

    def on_state_copy(self, envelope: dict[str, Any]) -> None:
        self.on_state(envelope)

    def is_state_signed(self, envelope: dict[str, Any]) -> bool:
        return _signed(self.key, envelope, "state")

    def is_here(self, fields: dict[str, Any]) -> bool:
        return (fields["site"], fields["terminal"]) == (self.site, self.terminal)

    # --- requests -------------------------------------------------------------------------------------

    def ask(self) -> None:
        self.deadline_s = time.monotonic() + self.ttl_ms / 1e3  # before sending
        photo = {"image_b64": base64.b64encode(PHOTO).decode(), "sha256": hashlib.sha256(PHOTO).hexdigest()}
        address = {"site": self.site, "terminal": self.terminal}
        identity = {"request_id": str(uuid.uuid4()), "till": self.till, "nonce": secrets.token_hex(16)}
        tree = identity | address | {"epoch": self.epoch}
        other_fields = {"schema": "facepay.request/1", "transaction_id": "sale-1", "ttl_ms": self.ttl_ms}
        other_fields["sent_at_ms"] = self.unix_ms()
        payload = json.dumps(tree | other_fields | {"reference": photo}).encode()
        sha256 = hashlib.sha256(payload).hexdigest()
        self.open = tree | {"request_sha256": sha256}
        self.cancelled = False
        self.send("request", payload)

    def unix_ms(self) -> int:
        return int(time.time() * 1000)

    def cancel(self) -> None:
        if self.open is not None:
            self.cancelled = True
            cancel = {"schema": "facepay.cancel/1", "request_id": self.open["request_id"]}
            self.send("cancel", json.dumps(cancel).encode())

    def restart(self) -> None:
        """Lose the memory and the connection, as a new process; paho connects again."""
        self.open = None
        connection = self.client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)

    def on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "refused":
            self.on_refused(event)

    def on_refused(self, event: dict[str, Any]) -> None:
        if event["refusal"] == "result_expired" and "result_id" in event:
            self.acknowledge(event["result_id"])
        if self.open is not None and event["request_id"] in (None, self.open["request_id"]):
            self.open = None

    # --- results --------------------------------------------------------------------------------------

    def on_result(self, envelope: dict[str, Any], *, retained: bool) -> None:
        if self.is_retained(retained) or not self.is_signed(envelope):
            return
        result = json.loads(envelope["result"])
        if (result["site"], result["terminal"], result["till"]) != (self.site, self.terminal, self.till):
            return
        if not self.is_ours(result):
            self.on_other(result)
        else:
            self.acknowledge(result["result_id"])
            if result["decision"] == "match" and self.is_in_time() and not self.is_cancelled():
                self.pay(result["request_id"])
            self.open = None

    def on_other(self, result: dict[str, Any]) -> None:
        """A repeat, or a result for a request that is not open: acknowledge, never pay."""
        self.acknowledge(result["result_id"])

    def is_retained(self, retained: bool) -> bool:
        return retained

    def is_signed(self, envelope: dict[str, Any]) -> bool:
        return _signed(self.key, envelope, "result") or self.is_from_before(envelope)

    def is_from_before(self, envelope: dict[str, Any]) -> bool:
        """Signed with the key before a rotation, in an epoch before the rotation."""
        in_time = time.monotonic() < self.old_until_s and _signed(self.old_key, envelope, "result")
        return in_time and json.loads(envelope["result"])["epoch"] not in self.new_epochs

    def follow(self, state: dict[str, Any], envelope: dict[str, Any]) -> None:
        rotation = state.get("key", {}).get("rotation", {})
        if not _signed(self.key, rotation, "rotation"):
            return
        statement = json.loads(rotation["rotation"])
        new = load_pem_public_key(statement["new_key"].encode())
        assert isinstance(new, Ed25519PublicKey)
        if self.is_here(statement) and _signed(new, envelope, "state"):
            self.old_key, self.key = self.key, new
            self.old_until_s, self.new_epochs = time.monotonic() + 600, set()

    def is_ours(self, result: dict[str, Any]) -> bool:
        return self.open is not None and all(result.get(k) == v for k, v in self.open.items())

    def is_in_time(self) -> bool:
        return time.monotonic() <= self.deadline_s

    def is_cancelled(self) -> bool:
        return self.cancelled

    def acknowledge(self, result_id: str) -> None:
        self.send("ack", json.dumps({"schema": "facepay.ack/1", "result_id": result_id}).encode())

    def pay(self, request_id: str) -> None:
        paid = json.dumps({"request_id": request_id})  # test mode; a real till takes the money here
        self.client.publish(f"{self.base}/conformance/{self.till}/paid", paid, qos=1)

    def send(self, kind: str, payload: bytes) -> None:
        self.client.publish(f"{self.base}/verify/{self.till}/{kind}", payload, qos=1)


def _signed(key: Ed25519PublicKey, envelope: dict[str, Any], kind: str) -> bool:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    expected = {"alg": "Ed25519", "typ": f"facepay-{kind}+jws", "kid": hashlib.sha256(raw).hexdigest()[:16]}
    head, _, signature = envelope.get("jws", "").partition("..")
    try:
        header = json.loads(_bytes(head))
        text = base64.urlsafe_b64encode(envelope[kind].encode()).rstrip(b"=")
        key.verify(_bytes(signature), head.encode() + b"." + text)
    except (ValueError, KeyError, InvalidSignature):
        return False
    return bool(expected.items() <= header.items())


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
