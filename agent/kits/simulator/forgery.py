"""Forged matches, each with exactly one fault, which a till must detect. Pure except signing."""

from __future__ import annotations

import json
import uuid
from typing import Any

from agent.core.reasons import Decision, Reason
from agent.kits.simulator.script import SimulatedFault
from agent.messages.encode import dumps, envelope
from agent.messages.signing import Signer
from agent.texts import in_locale

_WRONG: dict[SimulatedFault, dict[str, Any]] = {
    SimulatedFault.WRONG_REQUEST: {"request_id": "00000000-0000-4000-8000-000000000000"},
    SimulatedFault.WRONG_NONCE: {"nonce": "0" * 32},
    SimulatedFault.WRONG_SHA256: {"request_sha256": "0" * 64},
    SimulatedFault.WRONG_TERMINAL: {"terminal": "another-terminal"},
    SimulatedFault.WRONG_EPOCH: {"epoch": "0" * 32},
    SimulatedFault.UNKNOWN_DECISION: {"decision": "approved"},
}


def forged(true: bytes, fault: SimulatedFault, own: Signer, unknown_key: Signer) -> bytes:
    """The payload of a match, made from a true result.

    Args:
        true: the payload of a result that is not a match.
        fault: one of ``script.FORGED``.
        own: the key that the till has pinned.
        unknown_key: a key that the till has not pinned, or pins no longer.
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
        case SimulatedFault.UNSIGNED:
            return envelope("result", tree, None)
        case SimulatedFault.WRONG_SIGNATURE | SimulatedFault.OLD_KEY:
            return envelope("result", tree, unknown_key)
        case SimulatedFault.WRONG_KIND:
            text = dumps(tree)
            return dumps({"result": text, "jws": own.sign(text, "cancel")}).encode()
        case SimulatedFault.ALTERED:
            return dumps({"result": dumps(tree), "jws": own.sign(inner, "result")}).encode()
    return envelope("result", tree | _WRONG[fault], own)
