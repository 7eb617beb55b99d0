"""A remote diagnosis, as messages: an operator asks, the terminal reports. Pure.

Only whoever holds a key that ``facepay keys trust --operator`` installed is answered, and always with a
signed report: the doctor's findings, or the word why not. What is signed names the one terminal that is
asked: sent on to another, it is nobody's. ``epoch`` is that of this process, so nothing asked of an earlier
one counts; ``issued_unix_ms`` must grow from one request of an operator to the next, so nothing counts twice,
without a list of what was seen and without trust in this terminal's clock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from agent.messages.decode import DecodeRules, Trust, opened
from agent.messages.encode import TerminalIdentity
from agent.messages.fields import integer_of, malformed, nonce_of, strings_of, text_of, uuid_of
from agent.messages.topics import Topics

KIND = "diag"
REQUEST_MAX_BYTES = 4_096
REPORT_MAX_BYTES = 64 * 1024
_UNIX_MS_MAX = 2**53

Declined = Literal["request_stale", "rate_limited", "busy", "check_unknown", "report_too_large"]


@dataclass(frozen=True, slots=True)
class DiagRequest:
    operator: str
    request_id: str
    nonce: str
    epoch: str
    issued_unix_ms: int  # the operator's own clock
    only: tuple[str, ...]  # ids of checks; empty: all
    payload_sha256: str


def read_diag(payload: bytes, topics: Topics, operator: str, trust: Trust) -> DiagRequest:
    """One request from a terminal's topic of ``operator``. Raises ``Rejected``; nobody is told then."""
    rules = DecodeRules(REQUEST_MAX_BYTES, 0, signatures_required=True, trust=trust)
    tree = opened(payload, operator, KIND, rules)
    for name, said in (("site", topics.site), ("terminal", topics.terminal), ("operator", operator)):
        if text_of(tree, name) != said:
            raise malformed(f"{name} differs from the topic's")
    return DiagRequest(
        operator,
        uuid_of(tree, "request_id"),
        nonce_of(tree),
        text_of(tree, "epoch"),
        integer_of(tree, "issued_unix_ms", 0, _UNIX_MS_MAX),
        tuple(strings_of(tree, "only")),
        hashlib.sha256(payload).hexdigest(),
    )


def report(
    asked: DiagRequest, who: TerminalIdentity, doctor: dict[str, Any] | None, declined: Declined | None
) -> dict[str, Any]:
    """What the terminal signs as a message of kind ``report``: findings, or why there are none."""
    return {
        "schema": "facepay.report/1",
        "request_id": asked.request_id,
        "operator": asked.operator,
        "nonce": asked.nonce,
        "request_sha256": asked.payload_sha256,
        "site": who.site,
        "terminal": who.terminal,
        "epoch": who.epoch,
        "declined": declined,
        "doctor": doctor,
    }
