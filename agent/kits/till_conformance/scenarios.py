"""The scenarios of the conformance kit, and the rules of a till. Names of rules: those of ``x-duty``."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.core.reasons import Reason
from agent.errors import ConfigError
from agent.kits.simulator.script import FORGED, ScriptStep
from agent.kits.simulator.script import SimulatedFault as Fault
from agent.texts import Text

NO_REQUEST = "no request arrived"
CANCEL, RESTART = "cancel", "restart"  # commands of the kit


class Preparation(StrEnum):
    """What the kit does before the request. The empty value: nothing."""

    NOTHING = ""
    FORGED_STATE = "forged_state"
    NO_RETAINED = "no_retained"
    LOST_COPY = "lost_copy"
    RESTART = "restart"


class Rule(StrEnum):
    FRESH_REQUEST = "fresh_request"
    REQUEST_EPOCH = "request_epoch"
    SENT_AT = "sent_at"
    SIGNATURE = "signature"
    STATE_SIGNATURE = "state_signature"
    GET_STATE = "get_state"
    ROTATION = "rotation"
    REQUEST_ID = "request_id"
    NONCE = "nonce"
    REQUEST_SHA256 = "request_sha256"
    TERMINAL = "terminal"
    EPOCH = "epoch"
    LATE = "late"
    CANCELLED = "cancelled"
    RETAINED = "retained"
    ONCE = "once"
    MATCH_ONLY = "match_only"
    ACK = "ack"
    RESTART = "restart"
    ADDITIONS = "additions"
    PAYS = "pays"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario: one step per request.

    ``breaks``: for each request the rule that a payment breaks; None: a payment is required.
    ``unpaid``: the rule that a missing payment breaks.
    """

    name: str
    words: str
    steps: tuple[ScriptStep, ...]
    breaks: tuple[Rule | None, ...]
    acked: bool = True  # whether the true result must be acknowledged
    command: str = ""  # sent to the till while the request is open
    unpaid: Rule = Rule.PAYS
    preparation: Preparation = Preparation.NOTHING


def _scenario(
    words: str,
    breaks: Rule | None,
    fault: Fault = Fault.NONE,
    reason: Reason = Reason.SAME_PERSON,
    *,
    name: str = "",
    acked: bool = True,
    unpaid: Rule = Rule.PAYS,
) -> Scenario:
    """A scenario of one request, named after its fault. After a forged match the truth is another person."""
    truth = Reason.DIFFERENT_PERSON if fault in FORGED else reason
    step = ScriptStep(reason=truth, fault=fault, delay_ms=100)
    command = CANCEL if fault is Fault.IGNORES_CANCEL else ""
    return Scenario(name or fault.value, words, (step,), (breaks,), acked, command, unpaid)


_DELAYED = (ScriptStep(delay_ms=100),)
_REORDER = (
    ScriptStep(fault=Fault.REORDER, delay_ms=100),
    ScriptStep(reason=Reason.DIFFERENT_PERSON, delay_ms=100),
)
SCENARIOS = (
    _scenario("a good match", None, name="match"),
    _scenario("another person", Rule.MATCH_ONLY, reason=Reason.DIFFERENT_PERSON, name="no_match"),
    _scenario("no face", Rule.MATCH_ONLY, reason=Reason.NO_FACE, name="undecided"),
    _scenario("a signed unknown decision", Rule.MATCH_ONLY, Fault.UNKNOWN_DECISION, acked=False),
    _scenario("the terminal refuses", Rule.MATCH_ONLY, Fault.BUSY, acked=False),
    _scenario("no answer at all", Rule.MATCH_ONLY, Fault.SILENT, acked=False),
    _scenario("only the event result_expired", Rule.MATCH_ONLY, Fault.EXPIRED),
    Scenario(
        "forged_state",
        "forged states with another epoch, then a good match",
        _DELAYED,
        (None,),
        preparation=Preparation.FORGED_STATE,
    ),
    _scenario("a match signed by another key", Rule.SIGNATURE, Fault.WRONG_SIGNATURE),
    _scenario("a match with the right signature and the kid of another key", Rule.SIGNATURE, Fault.WRONG_KID),
    _scenario("a match signed as a cancel", Rule.SIGNATURE, Fault.WRONG_KIND),
    _scenario("a result changed into a match after it was signed", Rule.SIGNATURE, Fault.ALTERED),
    _scenario("a match without signature", Rule.SIGNATURE, Fault.UNSIGNED),
    _scenario(
        "another key's no_match with the ids of the true match, then the true match",
        None,
        Fault.FORGED_BEFORE,
        unpaid=Rule.SIGNATURE,
    ),
    _scenario(
        "no_match; after your ack another key's match with the same ids",
        Rule.SIGNATURE,
        Fault.FORGED_AFTER,
        Reason.DIFFERENT_PERSON,
    ),
    _scenario(
        "an unknown event, stage and optional field, then a match with an unknown field",
        None,
        Fault.ADDITIONS,
        unpaid=Rule.ADDITIONS,
    ),
    _scenario("a match with another request_id", Rule.REQUEST_ID, Fault.WRONG_REQUEST),
    _scenario("a match with another nonce", Rule.NONCE, Fault.WRONG_NONCE),
    _scenario("a match with another request_sha256", Rule.REQUEST_SHA256, Fault.WRONG_SHA256),
    _scenario("a match that names another terminal", Rule.TERMINAL, Fault.WRONG_TERMINAL),
    _scenario("a match of another epoch", Rule.EPOCH, Fault.WRONG_EPOCH),
    _scenario("a match, twice", None, Fault.DUPLICATE),
    _scenario("accepted is late; a match arrives just after ttl_ms", Rule.LATE, Fault.LATE),
    Scenario(
        "reorder",
        "a match that arrives while the next request is open",
        _REORDER,
        (Rule.LATE, Rule.REQUEST_ID),
    ),
    _scenario("a match after your cancel", Rule.CANCELLED, Fault.IGNORES_CANCEL, name="cancel"),
    Scenario(
        "till_restart",
        "your till restarts with an open request; then a match arrives",
        _DELAYED,
        (Rule.RESTART,),
        command=RESTART,
    ),
    _scenario("your link is cut; a match is retained", Rule.RETAINED, Fault.RETAINED, acked=False),
    _scenario("a match; the terminal crashes, and sends it again", None, Fault.CRASH),
    _scenario("a good match after that restart, with its new epoch", None, name="restart"),
    Scenario(
        "no_retained",
        "the terminal restarts while your link is cut, and the broker retains no state",
        _DELAYED,
        (None,),
        preparation=Preparation.NO_RETAINED,
    ),
    Scenario(
        "lost_copy",
        "the same, and the first copy of the state is lost",
        _DELAYED,
        (None,),
        preparation=Preparation.LOST_COPY,
    ),
    _scenario(
        "the terminal crashes before the result; its next process answers with your request's epoch",
        Rule.MATCH_ONLY,
        Fault.CRASH_EARLY,
        name="interrupted",
    ),
    _scenario(
        "the terminal restarts with a new key; a stored no_match has the old signature",
        Rule.MATCH_ONLY,
        Fault.ROTATED,
        Reason.DIFFERENT_PERSON,
    ),
    _scenario("a good match with the new key's signature", None, name="new_key"),
    _scenario("a match of the new epoch with the old key's signature", Rule.ROTATION, Fault.OLD_KEY),
    Scenario(
        "old_key_later",
        "the terminal restarts again; a match of that epoch with the old key's signature",
        (ScriptStep(reason=Reason.DIFFERENT_PERSON, fault=Fault.OLD_KEY, delay_ms=100),),
        (Rule.ROTATION,),
        preparation=Preparation.RESTART,
    ),
    _scenario(
        "another key signs a statement about itself, and then a match", Rule.ROTATION, Fault.FORGED_ROTATION
    ),
)


def pick(names: Sequence[str] | None) -> tuple[Scenario, ...]:
    """The scenarios of these names; all without names. Raises ``ConfigError``: unknown name."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    for name in names or ():
        if name not in known:
            fix = Text("fix.choose_one_of", known=", ".join(known))
            raise ConfigError(Text("detail.no_scenario", name=name), fix=fix)
    return tuple(scenario for scenario in SCENARIOS if not names or scenario.name in names)
