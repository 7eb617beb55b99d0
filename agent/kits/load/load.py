"""The load test of a fleet: many simulated terminals, a few tills, requests at a fixed rate, a real broker.

Latency: from the till's publish to the receipt of the signed result, which the till acknowledges. A request
without a result within ``LOST_AFTER_S`` is lost. The key is created here; no key of a terminal is loaded.
"""

import asyncio
import json
import secrets
import time
import uuid
from dataclasses import dataclass

from agent.config import MqttConfig
from agent.core.model import Assurance, Reference, Request, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.kits.load.connections import LoadConnection, LoadConnections
from agent.kits.till.request import new_request
from agent.messages.encode import Issued, TerminalIdentity, envelope, result, state
from agent.messages.signing import Signer
from agent.messages.topics import ACK, REQUEST, RESULT, Topics
from agent.mqtt.paho_client import Message

LOST_AFTER_S = 10.0
TILLS = 4
CONNECT_AT_ONCE = 50
SITE = "load"


@dataclass(frozen=True, slots=True)
class Load:
    """``rate``: requests per second over all terminals."""

    terminals: int
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class LoadReport:
    """``lost``: requests without a result; ``connections_lost``: of terminals and tills, during the run."""

    terminals: int
    requests: int
    results: int
    lost: int
    acknowledged: int
    connections_lost: int
    connect_s: float
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    longest_ms: float
    payload_bytes: int


class _Terminal:
    """Answers every request at once with a signed ``no_face``: signing is the main cost of a result."""

    def __init__(self, number: int, signer: Signer) -> None:
        self.topics = Topics(SITE, f"terminal-{number}")
        self.identity = TerminalIdentity(SITE, self.topics.terminal, "load", f"epoch-{secrets.token_hex(4)}")
        self._signer = signer
        self.member: LoadConnection | None = None
        self.seq = 0
        self.acknowledged = 0

    async def join(self, fleet: LoadConnections) -> None:
        filters = [self.topics.till_filter(kind) for kind in (REQUEST, ACK)]
        will = Message(self.topics.state, state("offline", self.identity, signer=self._signer), retained=True)
        client_id = f"facepay-{SITE}-{self.topics.terminal}"
        self.member = await fleet.join(client_id, filters, self._received, will)
        online = state("online", self.identity, signer=self._signer)
        self.member.publish(Message(self.topics.state, online, retained=True))

    def _received(self, message: Message) -> None:
        place = self.topics.read(message.topic)
        if place is None or self.member is None:
            return
        till, kind = place
        if kind == ACK:
            self.acknowledged += 1
            return
        tree = json.loads(message.payload)
        self.seq += 1
        names = ("request_id", "transaction_id", "nonce", "epoch", "ttl_ms")
        request = Request(
            **{name: tree[name] for name in names},
            till=till,
            reference=Reference(**tree["reference"]),
            payload_sha256="0" * 64,
            received_ms=0,
            budget_ms=tree["ttl_ms"],
        )
        result_object = Result(request, Decision.UNDECIDED, Reason.NO_FACE, 0, None, Timings(), Assurance())
        issued = Issued(str(uuid.uuid4()), self.seq, time.time_ns() // 1_000_000)
        payload = result(result_object, self.identity, issued, self._signer)
        self.member.publish(Message(self.topics.verify(till, RESULT), payload))


class _Till:
    def __init__(self, number: int) -> None:
        self.name = f"till-{number}"
        self.member: LoadConnection | None = None
        self.sent: dict[str, float] = {}
        self.took_ms: list[float] = []
        self.payload_bytes = 0

    async def join(self, fleet: LoadConnections) -> None:
        filters = [f"{Topics(SITE, 'x').base.rsplit('/', 1)[0]}/+/verify/{self.name}/{RESULT}"]
        self.member = await fleet.join(f"facepay-load-{self.name}", filters, self._received)

    def send_request(self, terminal: _Terminal) -> None:
        address = {"site": SITE, "terminal": terminal.topics.terminal, "till": self.name}
        reference = {"url": "https://photos.example/load.jpg", "sha256": "0" * 64}
        tree = new_request(address, terminal.identity.epoch, 8_000, reference)
        payload = envelope("request", tree, None)
        self.payload_bytes += len(payload)
        self.sent[tree["request_id"]] = time.monotonic()
        if self.member is not None:
            self.member.publish(Message(terminal.topics.verify(self.name, REQUEST), payload))

    def _received(self, message: Message) -> None:
        result_object = json.loads(json.loads(message.payload)["result"])
        started_s = self.sent.pop(result_object["request_id"], None)
        if started_s is None or self.member is None:
            return
        self.took_ms.append((time.monotonic() - started_s) * 1e3)
        self.payload_bytes += len(message.payload)
        place = {"site": result_object["site"], "terminal": result_object["terminal"]}
        ack = {"schema": "facepay.ack/1", "result_id": result_object["result_id"]} | place
        self.member.publish(Message(message.topic.removesuffix(RESULT) + ACK, envelope("ack", ack, None)))


async def run(config: MqttConfig, load: Load) -> LoadReport:
    """Connect the fleet, send requests for ``seconds``, wait for open requests, disconnect.

    Raises ``TillError``: the broker refuses a connection, a subscription or a message, or does not answer.
    """
    fleet, signer = LoadConnections(config), Signer.generate()
    terminals = [_Terminal(number, signer) for number in range(load.terminals)]
    tills = [_Till(number) for number in range(TILLS)]
    try:
        start_s = time.monotonic()
        members: list[_Terminal | _Till] = [*terminals, *tills]
        for first in range(0, len(members), CONNECT_AT_ONCE):
            await asyncio.gather(
                *(connection.join(fleet) for connection in members[first : first + CONNECT_AT_ONCE])
            )
        connect_s = time.monotonic() - start_s
        sending_s = await _send_requests(fleet, terminals, tills, load)
        if fleet.refusal is not None:
            raise fleet.refusal
        return _report(fleet, terminals, tills, connect_s, sending_s)
    finally:
        await fleet.close()


async def _send_requests(
    fleet: LoadConnections, terminals: list[_Terminal], tills: list[_Till], load: Load
) -> float:
    """Send at fixed times, independent of the broker: waiting would hide a slow broker. Returns seconds.

    Ends early when the broker has refused a message.
    """
    start_s = time.monotonic()
    for number in range(round(load.rate * load.seconds)):
        await asyncio.sleep(max(0.0, start_s + number / load.rate - time.monotonic()))
        if fleet.refusal is not None:
            break
        tills[number % len(tills)].send_request(terminals[number % len(terminals)])
    sending_s = time.monotonic() - start_s
    timeout_s = time.monotonic() + LOST_AFTER_S
    while any(till.sent for till in tills) and fleet.refusal is None:
        if time.monotonic() > timeout_s:
            break
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)  # the last acknowledgements
    return sending_s


def _report(
    fleet: LoadConnections, terminals: list[_Terminal], tills: list[_Till], connect_s: float, seconds: float
) -> LoadReport:
    took_ms = sorted(ms for till in tills for ms in till.took_ms)
    lost = sum(len(till.sent) for till in tills)

    def at(share: float) -> float:
        return round(took_ms[min(len(took_ms) - 1, int(share * len(took_ms)))], 2) if took_ms else 0.0

    return LoadReport(
        terminals=len(terminals),
        requests=len(took_ms) + lost,
        results=len(took_ms),
        lost=lost,
        acknowledged=sum(connection.acknowledged for connection in terminals),
        connections_lost=fleet.lost,
        connect_s=round(connect_s, 2),
        seconds=round(seconds, 2),
        p50_ms=at(0.5),
        p95_ms=at(0.95),
        p99_ms=at(0.99),
        longest_ms=at(1.0),
        payload_bytes=sum(till.payload_bytes for till in tills),
    )
