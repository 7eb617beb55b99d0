"""One payload of every kind, encoded by the agent with fixed keys, clock and ids.

``python -m tests.contract.golden`` writes them to tests/contract/golden/ and into the contract's examples.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core.model import Assurance, Comparison, Reference, Request, Result, Timings
from agent.core.ports import AcceptedEvent, GuidanceEvent, RefusedEvent, StageEvent, TillEvent
from agent.core.reasons import Decision, Guidance, Reason, Refusal
from agent.messages.diagnosis import read_diag, report
from agent.messages.encode import ClockFacts, Issued, TerminalIdentity, envelope, event, health, result, state
from agent.messages.signing import Signer
from agent.messages.topics import ACK, CANCEL, EVENT, GET_STATE, REPORT, REQUEST, RESULT, Topics
from agent.resources import config_file

FOLDER = Path(__file__).parent / "golden"
TOPICS = Topics("shop-12", "terminal-3")
TILL = "till-1"
OPERATOR = "back-office"
EPOCH = "5f1d8c0e9b7a46d2a3c4e5f60718293a"
IDENTITY = TerminalIdentity("shop-12", "terminal-3", "0b6f2a3e-4f0c-4b1d-9a53-6a1a3f1c2d4e", EPOCH)
REQUEST_ID = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
RESULT_ID = "c9bf9e57-1685-4c89-bafb-ff5af830be8a"
PHOTO = b"\xff\xd8\xff\xe0 where a JPEG of the enrolled photo would stand \xff\xd9"
PHOTO_SHA256 = hashlib.sha256(PHOTO).hexdigest()

REQUEST_TREE: dict[str, Any] = {
    "schema": "facepay.request/1",
    "request_id": REQUEST_ID,
    "till": TILL,
    "transaction_id": "sale-20260314-0042",
    "nonce": "9f86d081884c7d659a2feaa0c55ad015",
    "epoch": EPOCH,
    "sent_at_ms": 1_773_504_000_000,
    "ttl_ms": 8000,
    "site": "shop-12",
    "terminal": "terminal-3",
    "reference": {"url": "https://photos.example/enrolled/8841.jpg", "sha256": PHOTO_SHA256},
}
INLINE_TREE = REQUEST_TREE | {
    "reference": {"image_b64": base64.b64encode(PHOTO).decode(), "sha256": PHOTO_SHA256},
    "consent_ref": "consent-8841",
    "require": ["liveness"],
    "locale": "zh-CN",
    "crit": ["require"],
}
ROTATION_TREE = {
    "schema": "facepay.rotation/1",
    "site": "shop-12",
    "terminal": "terminal-3",
    "issued_at": "2026-03-14T15:00:00.000Z",
}
PLACE = {"site": IDENTITY.site, "terminal": IDENTITY.terminal}
CANCEL_TREE = {"schema": "facepay.cancel/1", "request_id": REQUEST_ID} | PLACE
DIAG_TREE: dict[str, Any] = {
    "schema": "facepay.diag/1",
    "request_id": REQUEST_ID,
    "site": IDENTITY.site,
    "terminal": IDENTITY.terminal,
    "operator": OPERATOR,
    "nonce": "2c26b46b68ffc68ff99b453c1d304134",
    "epoch": EPOCH,
    "issued_unix_ms": 1_773_504_000_123,
    "only": ["net.tcp", "net.tls"],
}
ACK_TREE = {"schema": "facepay.ack/1", "result_id": RESULT_ID} | PLACE
HEALTH_FACTS: dict[str, Any] = {
    "uptime_s": 3600,
    "frames": {"idle": 35_870, "no_face": 92, "too_small": 21, "shot": 17},
    "results": {"match/same_person": 4, "undecided/no_face": 1},
    "refusals": {"busy": 1},
    "calls": 4,
    "bytes_sent": 96_400,
    "calls_saved": 126,
    "calls_saved_by": {"no_face": 92, "too_small": 21, "shot": 13},
    "timings_p50_ms": {"wait_face": 210, "hold": 180, "encode": 4, "sign": 1, "connect": 0, "api": 221},
    "timings_ms": {"api": {"count": 4, "sum_ms": 884, "le_ms": {"100": 0, "250": 3, "500": 4}}},
    "conditions": [],
    "camera": {"fps": 10.0, "frame_age_ms": 64, "mean_luma": 118},
    "process": {"rss_bytes": 91_000_000, "cpu_s": 21.5, "open_files": 23, "max_files": 1024, "threads": 7},
    "till": {"unacknowledged": 0, "expired_unacknowledged": 0, "withheld": 0, "inbound_dropped": 0},
}
STATE_FACTS: dict[str, Any] = {
    "version": "0.2.0",
    "profile": "shop",
    "accepted_risks": ["liveness_off"],
    "limits": {"request_max_bytes": 98304, "budget_max_ms": 8000, "inline_reference": False},
    "conditions": [],
}


def terminal_key() -> Signer:
    """The key of the terminal in the examples. Ed25519 is deterministic: the same bytes at each run."""
    return _key("terminal")


def till_key() -> Signer:
    return _key("till")


def _key(name: str) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"golden {name}".encode()).digest()))


def payloads() -> dict[str, tuple[str, bytes]]:
    """name → (topic, payload)."""
    signer = till_key()
    made = {
        "request": (REQUEST, envelope("request", REQUEST_TREE, None)),
        "request-inline": (REQUEST, envelope("request", INLINE_TREE, None)),
        "request-signed": (REQUEST, envelope("request", REQUEST_TREE, signer)),
        "cancel": (CANCEL, envelope("cancel", CANCEL_TREE, None)),
        "cancel-signed": (CANCEL, envelope("cancel", CANCEL_TREE, signer)),
        "ack": (ACK, envelope("ack", ACK_TREE, None)),
        "ack-signed": (ACK, envelope("ack", ACK_TREE, signer)),
        "get-state": (GET_STATE, b"{}"),
    }
    made |= {name: (EVENT, event(value)[1]) for name, value in _events().items()}
    made |= {name: (RESULT, payload) for name, payload in _results().items()}
    named = {name: (TOPICS.verify(TILL, kind), payload) for name, (kind, payload) in made.items()}
    named |= {name: (TOPICS.state, payload) for name, payload in _states().items()}
    named |= {name: (TOPICS.diag(OPERATOR, kind), payload) for name, (kind, payload) in _diag().items()}
    return named | {"health": (TOPICS.health, health(IDENTITY, HEALTH_FACTS))}


def _diag() -> dict[str, tuple[str, bytes]]:
    request_bytes = envelope("diag", DIAG_TREE, _key("operator"))
    diag = read_diag(request_bytes, TOPICS, OPERATOR, _TrustAll())
    check = {"id": "net.tcp", "title": "API's port", "title_zh": "网络连接", "verdict": "fail", "spent_ms": 3}
    texts = {"why": "<compare.url>:<port>: connection refused", "because": "", "fix": "…", "fix_zh": "…"}
    doctor = {"schema": "facepay.doctor/1", "exit": 2, "checks": [check | texts]}
    return {
        "diag": (REQUEST, request_bytes),
        "report": (REPORT, envelope("report", report(diag, IDENTITY, doctor, None), terminal_key())),
        "report-declined": (REPORT, envelope("report", report(diag, IDENTITY, None, "busy"), terminal_key())),
    }


class _TrustAll:
    """Accepts every signature: the signatures are created in this module."""

    def has_key(self, till: str) -> bool:
        return True

    def verify(self, till: str, text: str, detached: str, kind: str) -> bool:
        return kind == "diag"


def request() -> Request:
    """The decoded golden request."""
    return Request(
        request_id=REQUEST_ID,
        till=TILL,
        transaction_id=REQUEST_TREE["transaction_id"],
        nonce=REQUEST_TREE["nonce"],
        epoch=EPOCH,
        ttl_ms=8000,
        reference=Reference(url=REQUEST_TREE["reference"]["url"], sha256=PHOTO_SHA256),
        payload_sha256=hashlib.sha256(envelope("request", REQUEST_TREE, None)).hexdigest(),
        received_ms=1_000,
        budget_ms=8000,
    )


def _events() -> dict[str, TillEvent]:
    value = request()
    return {
        "event-accepted": AcceptedEvent(value, 8000),
        "event-guidance": GuidanceEvent(replace(value, locale="zh-CN"), Guidance.COME_CLOSER),
        "event-stage": StageEvent(value, "comparing"),
        "event-refused": RefusedEvent(TILL, REQUEST_ID, Refusal.BUSY, "another verification is running"),
        "event-refused-expired": RefusedEvent(
            TILL, REQUEST_ID, Refusal.RESULT_EXPIRED, "a match came too late", result_id=RESULT_ID
        ),
        "event-refused-not-stored": RefusedEvent(
            TILL, REQUEST_ID, Refusal.STORAGE_UNAVAILABLE, "ended undecided: disk full", asks=1
        ),
        "event-refused-unreadable": RefusedEvent(TILL, None, Refusal.REQUEST_MALFORMED, "not a JSON object"),
    }


def _results() -> dict[str, bytes]:
    value, issued = request(), Issued(RESULT_ID, 17, 1_773_504_000_123)
    timings = Timings(wait_face=212, hold=180, encode=4, sign=1, connect=0, api=221, total=634)
    assurance = Assurance("not_checked", (), "picamera2", "tls", "c0" * 32, ("liveness_off",))
    compared = Comparison(93.418, 80.0, "face_compare_2018", "session-20260314-1", 0)
    match = Result(value, Decision.MATCH, Reason.SAME_PERSON, 1, compared, timings, assurance, calls=1)
    other = replace(
        match,
        decision=Decision.NO_MATCH,
        reason=Reason.DIFFERENT_PERSON,
        comparison=replace(compared, similarity=31.0),
    )
    no_face = Result(value, Decision.UNDECIDED, Reason.NO_FACE, 0, None, Timings(total=7750), assurance)
    refused = replace(
        no_face, reason=Reason.COMPARE_CREDENTIALS, asks=1, calls=1, timings=timings, api_code=9
    )
    key, without_similarity = terminal_key(), replace(IDENTITY, show_similarity=False)
    return {
        "result-match": result(match, IDENTITY, issued, key, ClockFacts(True, 120)),
        "result-no-match": result(other, without_similarity, issued, key),
        "result-undecided": result(no_face, IDENTITY, issued, key),
        "result-api-error": result(refused, IDENTITY, issued, key),
    }


def _states() -> dict[str, bytes]:
    key = terminal_key()
    online = STATE_FACTS | {"key": {"kid": key.key_id, "sha256": key.fingerprint}}
    old = _key("terminal before")
    keys = {"old_kid": old.key_id, "new_kid": key.key_id, "new_key": key.public.pem().decode()}
    rotation = json.loads(envelope("rotation", ROTATION_TREE | keys, old))
    rotated = online | {"key": {**online["key"], "rotation": rotation}}
    return {
        "state-rotated": state("online", IDENTITY, rotated, key),
        "state-online": state("online", IDENTITY, online, key),
        "state-degraded": state("degraded", IDENTITY, online | {"conditions": ["compare_unreachable"]}, key),
        "state-offline": state("offline", IDENTITY, None, key),
    }


def with_examples(contract: str, made: dict[str, tuple[str, bytes]]) -> str:
    """The text of the contract with the payload line of each example replaced."""
    for name, (_, payload) in made.items():
        line = json.dumps(json.loads(payload), ensure_ascii=False)
        pattern = rf"(- name: {name}\n +summary: [^\n]*\n +payload: )[^\n]*"
        found = re.findall(pattern, contract)
        assert len(found) == 1, f"the contract has {len(found)} examples named {name}"
        head, tail = re.split(pattern, contract)[::2]
        contract = head + found[0] + line + tail
    return contract


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = payloads()
    for name, (_, payload) in made.items():
        (FOLDER / f"{name}.json").write_bytes(payload)
    (FOLDER / "terminal-key.pem").write_bytes(terminal_key().public.pem())
    path = config_file("facepay.asyncapi.yaml")
    path.write_text(with_examples(path.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    write()
