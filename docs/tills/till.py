"""A till for facepay terminals in Python 3.11 or newer. Contract: ../reference/till-contract.md

Install: pip install aiomqtt cryptography     Use: python till.py PHOTO     (settings: see `main` below)
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import ssl
import sys
import time
import uuid
from pathlib import Path

from aiomqtt import Client, MqttError, ProtocolVersion
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def loads(data: bytes) -> dict:
    """A JSON object; empty for anything else."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        tree = {}
    return tree if isinstance(tree, dict) else {}


def key_id(public) -> str:
    """16 hexadecimal digits of the SHA-256 of the 32 bytes of the public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def opened(envelope: dict, kind: str, key) -> dict | None:
    """The message in a signed envelope; None when its signature is not that of ``key``."""
    try:
        header, middle, signature = envelope["jws"].split(".")
        head, text = json.loads(base64.urlsafe_b64decode(header + "==")), envelope[kind]
        key.verify(base64.urlsafe_b64decode(signature + "=="), f"{header}.{b64(text.encode())}".encode())
        expected = ("Ed25519", f"facepay-{kind}+jws", key_id(key))
        if middle or (head["alg"], head["typ"], head["kid"]) != expected:
            return None
        return json.loads(text)
    except (KeyError, TypeError, AttributeError, ValueError, InvalidSignature):
        return None


def sealed(kind: str, message: dict, key) -> bytes:
    """The payload of a message, signed where the till has a key."""
    text = json.dumps(message)
    if key is None:
        return text.encode()
    head = {"alg": "Ed25519", "typ": f"facepay-{kind}+jws", "kid": key_id(key.public_key())}
    header = b64(json.dumps(head).encode())
    signature = b64(key.sign(f"{header}.{b64(text.encode())}".encode()))
    return json.dumps({kind: text, "jws": f"{header}..{signature}"}).encode()


class Till:
    """One request at a time on one connection."""

    def __init__(self, site: str, terminal: str, till: str, ttl_ms: int, test_mode: bool):
        self.till, self.ttl_ms, self.test_mode = till, ttl_ms, test_mode
        self.address, self.base = {"site": site, "terminal": terminal}, f"facepay/v1/{site}/{terminal}"
        self.key = load_pem_public_key(Path(setting("TERMINAL_KEY")).read_bytes())  # pinned out of band
        own = setting("SIGN_KEY")
        self.sign_key = load_pem_private_key(Path(own).read_bytes(), None) if own else None
        self.old, self.old_until_s, self.new_epochs = None, 0.0, set()  # the key before a rotation
        self.online, self.must, self.answer = asyncio.Event(), {}, None
        self.deadline_s, self.cancelled = 0.0, False

    async def run(self, client: Client) -> None:
        self.client = client
        topics = ["state", *(f"verify/{self.till}/{kind}" for kind in ("state_copy", "event", "result"))]
        for topic in topics + [f"conformance/{self.till}/do"] * self.test_mode:
            await client.subscribe(f"{self.base}/{topic}", qos=1)
        # the broker may retain no state
        await client.publish(f"{self.base}/verify/{self.till}/get_state", b"{}", qos=1)
        async for message in self.client.messages:
            try:
                await self.on_message(message)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                print(f"ignored a malformed message: {error!r}", file=sys.stderr)

    async def on_message(self, message) -> None:
        tree = loads(message.payload)
        match message.topic.value.rsplit("/", 1)[1]:
            case "state" | "state_copy":
                self.on_state(tree)
            case "event":
                await self.on_event(tree)
            case "result" if not message.retain:
                await self.on_result(tree)
            case "do" if tree["do"] == "restart":
                sys.exit()
            case "do":
                await (self.cancel() if tree["do"] == "cancel" else self.send_request(b"a photo"))

    async def send(self, kind: str, message: dict, expiry_s: int | None = None) -> None:
        payload = sealed(kind, message | self.address, self.sign_key)
        if kind == "request":
            self.must["request_sha256"] = hashlib.sha256(payload).hexdigest()
        properties = Properties(PacketTypes.PUBLISH)
        if expiry_s:
            properties.MessageExpiryInterval = expiry_s
        topic = f"{self.base}/verify/{self.till}/{kind}"
        await self.client.publish(topic, payload, qos=1, properties=properties)

    def on_state(self, envelope: dict) -> None:
        """Only the signed text counts: a broker could write another epoch beside the text."""
        rotation = (loads(envelope.get("state", "")).get("key") or {}).get("rotation")
        statement = opened(rotation, "rotation", self.key) if rotation else None
        new_key = None
        if statement and self.address.items() <= statement.items():  # the old key signed the new key
            new_key = load_pem_public_key(statement["new_key"].encode())
        state = opened(envelope, "state", new_key or self.key)
        if state is None or not self.address.items() <= state.items():
            return
        if new_key:
            self.old, self.key = self.key, new_key
            self.old_until_s, self.new_epochs = time.monotonic() + 600, set()
        self.epoch = state["epoch"]
        self.new_epochs.add(self.epoch)
        if state.get("status") in ("online", "degraded"):  # both accept requests
            self.online.set()

    async def ask(self, photo: bytes) -> str:
        """The decision and the reason for the bytes of an enrolled photo."""
        try:  # a terminal without a signed state, or with another key, never gets online
            await asyncio.wait_for(self.online.wait(), self.ttl_ms / 1e3 + 5)
        except TimeoutError:
            return "undecided/terminal not online"
        with contextlib.suppress(MqttError):  # perhaps the terminal received it: wait for the result
            await self.send_request(photo)
        done, _ = await asyncio.wait([self.answer], timeout=self.ttl_ms / 1e3)
        self.must = {}
        return self.answer.result() if done else "undecided/no answer"

    async def send_request(self, photo: bytes) -> None:
        """In place of ``image_b64``, a ``url`` that the terminal may fetch keeps the photo off the broker."""
        sha256 = hashlib.sha256(photo).hexdigest()
        reference = {"image_b64": base64.b64encode(photo).decode(), "sha256": sha256}
        must = {"request_id": str(uuid.uuid4()), "nonce": secrets.token_hex(16)}
        must |= {"epoch": self.epoch, "till": self.till}
        request = {"schema": "facepay.request/1", "transaction_id": "sale-1", "ttl_ms": self.ttl_ms}
        self.must, self.cancelled = must | self.address, False
        self.answer = asyncio.get_running_loop().create_future()
        self.deadline_s = time.monotonic() + self.ttl_ms / 1e3  # before sending
        request |= must | {"sent_at_ms": time.time_ns() // 1_000_000, "reference": reference}
        await self.send("request", request, -(-self.ttl_ms // 1_000))

    async def cancel(self) -> None:
        self.cancelled = True
        request_id = self.must.get("request_id")
        await self.send("cancel", {"schema": "facepay.cancel/1", "request_id": request_id})

    async def acknowledge(self, result_id: str) -> None:
        await self.send("ack", {"schema": "facepay.ack/1", "result_id": result_id})

    async def on_event(self, event: dict) -> None:
        if event.get("refusal") == "result_expired" and "result_id" in event:
            await self.acknowledge(event["result_id"])
        if event["event"] == "guidance":
            print(*event["hint"].values(), file=sys.stderr)
        if event["event"] == "refused" and event["request_id"] in (None, self.must.get("request_id")):
            self.end("undecided/" + re.sub(r"\W", "", event["refusal"]))  # not signed: one word of its text

    async def on_result(self, envelope: dict) -> None:
        result = opened(envelope, "result", self.key)
        if result is None and self.old and time.monotonic() < self.old_until_s:  # stored before the rotation
            result = opened(envelope, "result", self.old)
            result = None if result and result["epoch"] in self.new_epochs else result
        if result is None or not (self.address | {"till": self.till}).items() <= result.items():
            return
        await self.acknowledge(result["result_id"])  # repeats and late results, too
        if not self.must or any(result.get(name) != value for name, value in self.must.items()):
            return
        in_time = time.monotonic() <= self.deadline_s and not self.cancelled
        known = in_time and result["decision"] in ("match", "no_match")
        decision = result["decision"] if known else "undecided"
        if decision == "match" and self.test_mode:
            paid = json.dumps({"request_id": result["request_id"]})
            await self.client.publish(f"{self.base}/conformance/{self.till}/paid", paid, qos=1)
        self.end(f"{decision}/{result['reason']}")

    def end(self, outcome: str) -> None:
        """One outcome for each request: a repeat finds no open request."""
        self.must = {}
        if self.answer and not self.answer.done():
            self.answer.set_result(outcome)


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"FACEPAY_{name}", default)


async def main() -> None:
    address = setting("SITE", "demo"), setting("TERMINAL", "terminal-1"), setting("TILL", "till-1")
    host, _, port = setting("BROKER", "127.0.0.1:1883").partition(":")
    tls = ssl.create_default_context(cafile=setting("CA")) if setting("CA") else None
    if tls and setting("CERT"):  # the certificate of this till
        tls.load_cert_chain(setting("CERT"), setting("CERT_KEY"))
    till = Till(*address, ttl_ms=int(setting("TTL_MS", "8000")), test_mode=bool(setting("CONFORMANCE")))

    async def connect() -> None:
        while True:  # an open request stays open: the terminal sends its result again
            with contextlib.suppress(MqttError):
                async with Client(host, int(port), protocol=ProtocolVersion.V5, tls_context=tls) as client:
                    await till.run(client)
            await asyncio.sleep(0.2)

    connected = asyncio.create_task(connect())
    if till.test_mode:
        await connected
    outcome = await till.ask(Path(sys.argv[1]).read_bytes())
    print(outcome)
    connected.cancel()
    await asyncio.wait([connected], timeout=2)
    sys.exit(not outcome.startswith("match/"))


if __name__ == "__main__":
    asyncio.run(main())
