"""The script of a simulated terminal: a list of answers, each with at most one fault.

As TOML, one table per request; after the last table the script starts again::

    [[answer]]
    reason = "same_person"     # the decision follows from the reason
    delay_ms = 300
    fault = "duplicate"        # see SimulatedFault; absent: a correct answer
"""

from enum import StrEnum

from agent.config.file import Ms, Percent, Section
from agent.core.reasons import Decision, Reason
from agent.errors import ConfigError
from agent.texts import Text


class SimulatedFault(StrEnum):
    """The fault of one answer. A fault of ``FORGED`` sends a forged match before the true result."""

    NONE = "none"
    DUPLICATE = "duplicate"  # the result twice, the same bytes
    REORDER = "reorder"  # the result is sent after the till's next request
    LATE = "late"  # just after ttl_ms; the event accepted comes late, too
    EXPIRED = "expired"  # the event result_expired, no result
    BUSY = "busy"  # refused
    SILENT = "silent"  # accepted, no result
    CRASH = "crash"  # crash between result and ack; the next epoch sends the same bytes
    CRASH_EARLY = "crash_early"  # crash before the result; the next process sends undecided/interrupted
    ROTATED = "rotated"  # crash after storing, key rotation; the result has the old signature
    RETAINED = "retained"  # a true result with the retain flag; only a later subscription receives the flag
    IGNORES_CANCEL = "ignores_cancel"  # waits for a cancel, then sends a match
    ADDITIONS = "additions"  # an unknown event, stage and optional fields, also in the result
    FORGED_BEFORE = "forged_before"  # a no_match of another key with the ids of the true result, then that
    FORGED_AFTER = "forged_after"  # a match of another key with the ids of the result, after its ack
    # from here on: FORGED
    WRONG_SIGNATURE = "wrong_signature"  # another key
    OLD_KEY = "old_key"  # the key before the rotation, in the new key's epoch
    FORGED_ROTATION = "forged_rotation"  # another key, after a state with a rotation statement of that key
    WRONG_KID = "wrong_kid"  # the pinned key, but the header names another key
    WRONG_KIND = "wrong_kind"  # the pinned key, but signed as another kind of message
    ALTERED = "altered"  # changed after the signature
    UNSIGNED = "unsigned"  # no envelope
    WRONG_REQUEST = "wrong_request"
    WRONG_NONCE = "wrong_nonce"
    WRONG_SHA256 = "wrong_sha256"
    WRONG_TERMINAL = "wrong_terminal"
    WRONG_EPOCH = "wrong_epoch"
    UNKNOWN_DECISION = "unknown_decision"  # neither match nor no_match nor undecided


_FAULTS = list(SimulatedFault)
FORGED = frozenset(_FAULTS[_FAULTS.index(SimulatedFault.WRONG_SIGNATURE) :])


class ScriptStep(Section):
    reason: Reason = Reason.SAME_PERSON
    delay_ms: Ms = 300
    similarity: Percent | None = None  # None: a value that fits the reason
    fault: SimulatedFault = SimulatedFault.NONE


class Script(Section):
    answer: tuple[ScriptStep, ...] = (ScriptStep(),)


def decision_of(reason: Reason) -> Decision:
    """The only decision that fits a reason."""
    match reason:
        case Reason.SAME_PERSON:
            return Decision.MATCH
        case Reason.DIFFERENT_PERSON:
            return Decision.NO_MATCH
    return Decision.UNDECIDED


def script_named(name: str) -> Script:
    """A script with one answer, by reason or fault. Raises ``ConfigError``: unknown name."""
    if name in {reason.value for reason in Reason}:
        return Script(answer=(ScriptStep(reason=Reason(name)),))
    if name in {fault.value for fault in SimulatedFault}:
        fault = SimulatedFault(name)
        truth = Reason.DIFFERENT_PERSON if fault in FORGED else Reason.SAME_PERSON
        return Script(answer=(ScriptStep(reason=truth, fault=fault),))
    names = ", ".join([*SimulatedFault, *Reason])
    raise ConfigError(Text("detail.no_scenario", name=name), fix=Text("fix.choose_one_of", known=names))
