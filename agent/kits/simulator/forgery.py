"""A match that must not be paid on: right in everything but one thing. Pure, but for the keys that sign."""

from __future__ import annotations

import json
import uuid
from typing import Any

from agent.core.reasons import Decision, Reason
from agent.kits.simulator.script import Fault
from agent.messages.encode import dumps, envelope
from agent.messages.signing import Signer
from agent.texts import in_locale

_WRONG: dict[Fault, dict[str, Any]] = {
    Fault.WRONG_REQUEST: {"request_id": "00000000-0000-4000-8000-000000000000"},
    Fault.WRONG_NONCE: {"nonce": "0" * 32},
    Fault.WRONG_SHA256: {"request_sha256": "0" * 64},
    Fault.WRONG_TERMINAL: {"terminal": "another-terminal"},
    Fault.WRONG_EPOCH: {"epoch": "0" * 32},
    Fault.UNKNOWN_DECISION: {"decision": "approved"},
}


def forged(true: bytes, fault: Fault, own: Signer, stranger: Signer) -> bytes:
    """The payload of a match made from a true result.

    Args:
        true: the payload of a result that is no match.
        fault: one of ``script.FORGED``.
        own: the key the till has pinned; ``stranger``: one it has not, or not any more.
    """
    inner = json.loads(true)["result"]
    tree: dict[str, Any] = json.loads(inner) | {
        "result_id": str(uuid.uuid4()),
        "decision": Decision.MATCH.value,
        "reason": Reason.SAME_PERSON.value,
        "hint": in_locale("reason", Reason.SAME_PERSON.value, None),
        "compare": {
            "provider": "simulated",
            "session_id": "",
            "code": 0,
            "threshold": 80.0,
            "similarity": 99.0,
        },
    }
    match fault:
        case Fault.UNSIGNED:
            return envelope("result", tree, None)
        case Fault.WRONG_SIGNATURE | Fault.OLD_KEY:
            return envelope("result", tree, stranger)
        case Fault.WRONG_KIND:
            words = dumps(tree)
            return dumps({"result": words, "jws": own.sign(words, "cancel")}).encode()
        case Fault.ALTERED:
            return dumps({"result": dumps(tree), "jws": own.sign(inner, "result")}).encode()
    return envelope("result", tree | _WRONG[fault], own)
