"""What a simulated terminal answers, as data: a list of answers, each with at most one fault.

As TOML, one table per request; after the last one the first again::

    [[answer]]
    reason = "same_person"     # the decision follows from it
    delay_ms = 300
    fault = "duplicate"        # see Fault; leave it out for a good answer
"""

from __future__ import annotations

from enum import StrEnum

from agent.config.file import Ms, Percent, Section
from agent.core.reasons import Decision, Reason
from agent.errors import ConfigError
from agent.texts import Text


class SimulatedFault(StrEnum):
    """How the terminal misbehaves. ``FORGED`` ones send a bad match before the true result."""

    NONE = "none"
    DUPLICATE = "duplicate"  # the result twice, the same bytes
    REORDER = "reorder"  # held back until the till's next request is open
    LATE = "late"  # after ttl_ms
    EXPIRED = "expired"  # the event result_expired, and no result
    BUSY = "busy"  # refused
    SILENT = "silent"  # accepted, and then nothing
    CRASH = "crash"  # dies between result and ack, comes back with a new epoch and sends the same bytes
    CRASH_EARLY = "crash_early"  # dies before the result; its next process answers undecided/interrupted
    ROTATED = "rotated"  # dies after storing, gets a new key, and sends the result with the old signature
    RETAINED = "retained"  # a right result, published with the retain flag; seen so by who subscribes later
    IGNORES_CANCEL = "ignores_cancel"  # waits for a cancel, then sends a match all the same
    WRONG_SIGNATURE = "wrong_signature"  # another key
    OLD_KEY = "old_key"  # the key before the rotation, in the new key's epoch
    WRONG_KIND = "wrong_kind"  # our key, but signed as another kind of message
    ALTERED = "altered"  # changed after it was signed
    UNSIGNED = "unsigned"  # no envelope
    WRONG_REQUEST = "wrong_request"
    WRONG_NONCE = "wrong_nonce"
    WRONG_SHA256 = "wrong_sha256"
    WRONG_TERMINAL = "wrong_terminal"
    WRONG_EPOCH = "wrong_epoch"
    UNKNOWN_DECISION = "unknown_decision"  # neither match nor no_match nor undecided


FORGED = frozenset(
    {
        SimulatedFault.WRONG_SIGNATURE,
        SimulatedFault.OLD_KEY,
        SimulatedFault.WRONG_KIND,
        SimulatedFault.ALTERED,
        SimulatedFault.UNSIGNED,
        SimulatedFault.WRONG_REQUEST,
        SimulatedFault.WRONG_NONCE,
        SimulatedFault.WRONG_SHA256,
        SimulatedFault.WRONG_TERMINAL,
        SimulatedFault.WRONG_EPOCH,
        SimulatedFault.UNKNOWN_DECISION,
    }
)


class ScriptStep(Section):
    """The answer to one request."""

    reason: Reason = Reason.SAME_PERSON
    delay_ms: Ms = 300
    similarity: Percent | None = None  # default: what fits the reason
    fault: SimulatedFault = SimulatedFault.NONE


class Script(Section):
    answer: tuple[ScriptStep, ...] = (ScriptStep(),)


def decision_of(reason: Reason) -> Decision:
    """The one decision a reason can stand under."""
    match reason:
        case Reason.SAME_PERSON:
            return Decision.MATCH
        case Reason.DIFFERENT_PERSON:
            return Decision.NO_MATCH
    return Decision.UNDECIDED


def named(name: str) -> Script:
    """A script of one answer: a reason's word, or a fault's. Raises ``ConfigError``."""
    if name in {reason.value for reason in Reason}:
        return Script(answer=(ScriptStep(reason=Reason(name)),))
    if name in {fault.value for fault in SimulatedFault}:
        fault = SimulatedFault(name)
        truth = Reason.DIFFERENT_PERSON if fault in FORGED else Reason.SAME_PERSON
        return Script(answer=(ScriptStep(reason=truth, fault=fault),))
    words = ", ".join([*SimulatedFault, *Reason])
    raise ConfigError(
        f"there is no scenario {name!r}",
        fix=Text("fix.choose_one_of", known=words),
    )
