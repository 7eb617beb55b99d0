"""The messages of a remote diagnosis: the request of an operator and the report of the terminal. Pure.

Only an operator whose key ``facepay keys trust --operator`` installed gets an answer. The answer is always a
signed report: the findings of the doctor, or the code why there are none.

Each field of a request excludes one misuse. ``site`` and ``terminal``: another terminal rejects the request.
``epoch``: a request to an earlier process is stale. ``issued_unix_ms`` must grow from one request of an
operator to the next: a repeated request is rejected, and the terminal needs neither a list of old requests
nor a correct clock.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from agent.messages.decode import DecodeRules, Trust, unwrap
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
    issued_unix_ms: int  # clock of the operator
    only: tuple[str, ...]  # ids of checks; empty: all
    payload_sha256: str


def read_diag(payload: bytes, topics: Topics, operator: str, trust: Trust) -> DiagRequest:
    """Decode a request from the topic of ``operator``. Raises ``Rejected``; send no answer then."""
    rules = DecodeRules(REQUEST_MAX_BYTES, 0, signatures_required=True, trust=trust)
    tree = unwrap(payload, operator, KIND, rules)
    for name, expected in (("site", topics.site), ("terminal", topics.terminal), ("operator", operator)):
        if text_of(tree, name) != expected:
            raise malformed(f"{name} differs from the {name} in the topic")
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
    request: DiagRequest, identity: TerminalIdentity, doctor: dict[str, Any] | None, declined: Declined | None
) -> dict[str, Any]:
    """The JSON object of a report, not signed: findings in ``doctor``, or the code in ``declined``."""
    return {
        "schema": "facepay.report/1",
        "request_id": request.request_id,
        "operator": request.operator,
        "nonce": request.nonce,
        "request_sha256": request.payload_sha256,
        "site": identity.site,
        "terminal": identity.terminal,
        "epoch": identity.epoch,
        "declined": declined,
        "doctor": doctor,
    }
