"""A till for facepay terminals in Python 3.11 or newer. Contract: ../reference/till-contract.md

Install: pip install aiomqtt joserfc     Use: python till.py PHOTO     Settings: README.md
"""

import asyncio
import json
import os
import sys
import time
import uuid
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from aiomqtt import Client, MqttError, ProtocolVersion, TLSParameters
from envelope import UNREADABLE, Terminal, load_key, now_s, sealed
from paho.mqtt.properties import PacketTypes, Properties

env = os.environ.get
ADDRESS = {"site": env("FACEPAY_SITE", "demo"), "terminal": env("FACEPAY_TERMINAL", "terminal-1")}
TILL, TTL_MS = env("FACEPAY_TILL", "till-1"), int(env("FACEPAY_TTL_MS", "8000"))
HOST, PORT = env("FACEPAY_BROKER", "127.0.0.1:1883").split(":")
TERMINAL_KEY, SIGN_KEY = env("FACEPAY_TERMINAL_KEY"), env("FACEPAY_SIGN_KEY")
CA, CERT, CERT_KEY = env("FACEPAY_CA"), env("FACEPAY_CERT"), env("FACEPAY_CERT_KEY")
TEST_MODE = env("FACEPAY_CONFORMANCE") == "1"  # for `facepay till conformance` only
BASE = "facepay/v1/{site}/{terminal}".format(**ADDRESS)
VERIFY, TEST = f"{BASE}/verify/{TILL}", f"{BASE}/conformance/{TILL}"
TOPICS = [f"{BASE}/state", f"{VERIFY}/state_copy", f"{VERIFY}/event", f"{VERIFY}/result"]


class Till:
    def __init__(self, photo: bytes) -> None:
        self.photo = photo  # the enrolled photo, sent when the terminal is online
        self.terminal = Terminal(ADDRESS, Path(TERMINAL_KEY).read_bytes())
        self.sign_key = load_key(Path(SIGN_KEY).read_bytes()) if SIGN_KEY else None
        self.epoch, self.deadline_s, self.open = "", 0.0, {}  # open: the fields that its result must repeat

    async def serve(self, client: Client) -> None:
        self.client, self.has_state = client, False  # an open request stays open: its result is sent again
        await client.subscribe([(topic, 1) for topic in TOPICS + [f"{TEST}/do"] * TEST_MODE])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.get_state())
            async for message in client.messages:
                kind = message.topic.value.rpartition("/")[2]
                try:
                    await self.receive(kind, json.loads(message.payload), message.retain)
                except UNREADABLE as error:
                    print(f"ignored a malformed message: {error!r}", file=sys.stderr)

    async def get_state(self) -> None:
        while not self.has_state:  # every 5 s: the broker may retain none, and a message can be lost
            await self.publish("get_state", b"{}")
            await asyncio.sleep(5)

    async def receive(self, kind: str, message: dict, retained: bool) -> None:
        match kind:
            case "state" | "state_copy":
                await self.on_state(message)
            case "event":
                await self.on_event(message)
            case "result" if not retained:  # never act on a retained result
                await self.on_result(message)
            case "do" if TEST_MODE and message["do"] == "ask":
                await self.ask(b"a photo")
            case "do" if TEST_MODE and message["do"] == "cancel":
                await self.cancel()
            case "do" if TEST_MODE:
                sys.exit()

    async def on_state(self, envelope: dict) -> None:
        state = self.terminal.state(envelope)
        if state:
            self.epoch, self.has_state = state["epoch"], True
        if self.photo and state.get("status") in ("online", "degraded"):  # both accept requests
            photo, self.photo = self.photo, b""
            await self.ask(photo)

    async def on_event(self, event: dict) -> None:
        if event.get("refusal") == "result_expired" and "result_id" in event:
            await self.send("ack", {"result_id": event["result_id"]})
        if event["event"] == "guidance":
            print(*event["hint"].values(), file=sys.stderr)
        is_refused = self.open and event["event"] == "refused"
        if is_refused and event["request_id"] in (None, self.open["request_id"]):
            await self.publish("get_state", b"{}")  # request_stale: perhaps the newest state was lost
            await self.end("undecided", repr(event["refusal"]))  # not signed: repr keeps it on one line

    async def on_result(self, envelope: dict) -> None:
        result = self.terminal.result(envelope)
        if result.get("till") != TILL:
            return
        counts = now_s() <= self.deadline_s and result["decision"] in ("match", "no_match")
        try:
            if self.open and self.open.items() <= result.items():
                await self.end(result["decision"] if counts else "undecided", result["reason"])
        finally:  # after the payment, because an ack can be slow or fail; repeats and late results, too
            with suppress(MqttError):  # then the result is sent again
                await self.send("ack", {"result_id": result["result_id"]})

    async def end(self, decision: str, reason: str) -> None:
        """End the open request, so that a repeat finds none. A till of a shop takes the money here."""
        request_id, self.open = self.open["request_id"], {}
        if not TEST_MODE:
            print(f"{decision}/{reason}", flush=True)
            self.timer.cancel()
            sys.exit(decision != "match")
        if decision == "match":
            await self.client.publish(f"{TEST}/paid", json.dumps({"request_id": request_id}), qos=1)

    async def ask(self, photo: bytes) -> None:
        ids = {"request_id": str(uuid.uuid4()), "nonce": os.urandom(16).hex(), "epoch": self.epoch}
        times = {"ttl_ms": TTL_MS, "sent_at_ms": time.time_ns() // 1_000_000}
        reference = {"image_b64": b64encode(photo).decode(), "sha256": sha256(photo).hexdigest()}  # or a url
        fields = ids | times | {"till": TILL, "transaction_id": "sale-1", "reference": reference}
        payload = sealed("request", fields | ADDRESS, self.sign_key)
        self.deadline_s = now_s() + TTL_MS / 1e3  # the timer starts before the request is sent
        self.open = ids | {"request_sha256": sha256(payload).hexdigest()}
        await self.publish("request", payload)

    async def cancel(self) -> None:
        self.deadline_s = 0.0  # never pay after a cancel
        await self.send("cancel", {"request_id": self.open["request_id"]})

    async def send(self, kind: str, fields: dict) -> None:
        await self.publish(kind, sealed(kind, fields | ADDRESS, self.sign_key))

    async def publish(self, kind: str, payload: bytes) -> None:
        expiry = Properties(PacketTypes.PUBLISH)
        expiry.MessageExpiryInterval = (TTL_MS + 999) // 1_000  # ttl_ms, rounded up
        await self.client.publish(f"{VERIFY}/{kind}", payload, qos=1, properties=expiry)


async def main() -> None:
    till = Till(b"" if TEST_MODE else Path(sys.argv[1]).read_bytes())
    if not TEST_MODE:
        till.timer = asyncio.get_running_loop().call_later(TTL_MS / 1e3 + 5, sys.exit, "undecided/no answer")
    tls = TLSParameters(CA, CERT, CERT_KEY) if CA else None
    while True:  # connect again after each loss
        try:
            async with Client(HOST, int(PORT), protocol=ProtocolVersion.V5, tls_params=tls) as client:
                await till.serve(client)
        except* MqttError as errors:
            print("no connection:", *errors.exceptions, file=sys.stderr)
            await asyncio.sleep(0.2)


asyncio.run(main())
