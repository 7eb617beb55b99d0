"""The scenarios of the conformance kit, and the rules that a till broke. Pure; names are of ``x-duty``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agent.core.admission import WRONG_EPOCH
from agent.core.reasons import Reason, Refusal
from agent.errors import ConfigError
from agent.kits.simulator.script import FORGED, ScriptStep
from agent.kits.simulator.script import SimulatedFault as Fault
from agent.texts import Text

NOT_ASKED = "no request came"
CANCEL, RESTART = "cancel", "restart"  # commands of the kit


class Rule(StrEnum):
    FRESH_REQUEST = "fresh_request"
    REQUEST_EPOCH = "request_epoch"
    SENT_AT = "sent_at"
    SIGNATURE = "signature"
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
    _scenario("accepted comes late; a match comes just after ttl_ms", Rule.LATE, Fault.LATE),
    Scenario(
        "reorder", "a match that comes while the next request is open", _REORDER, (Rule.LATE, Rule.REQUEST_ID)
    ),
    _scenario("a match after your cancel", Rule.CANCELLED, Fault.IGNORES_CANCEL, name="cancel"),
    Scenario(
        "till_restart",
        "your till restarts with an open request; then a match comes",
        _DELAYED,
        (Rule.RESTART,),
        command=RESTART,
    ),
    _scenario("your link is cut; a match is retained", Rule.RETAINED, Fault.RETAINED, acked=False),
    _scenario("a match; the terminal crashes, and sends it again", None, Fault.CRASH),
    _scenario("a good match after that restart, with its new epoch", None, name="restart"),
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
            raise ConfigError(f"there is no scenario {name!r}", fix=fix)
    return tuple(scenario for scenario in SCENARIOS if not names or scenario.name in names)


@dataclass(slots=True)
class TillObservation:
    """The messages of one scenario, in order."""

    requests: list[str] = field(default_factory=list)  # accepted request ids
    refusals: list[tuple[str, str]] = field(default_factory=list)  # (refusal, detail), not by script
    earlier: set[str] = field(default_factory=set)  # request ids of earlier scenarios
    reused: bool = False  # an earlier request has the same request_id or nonce
    cancels: int = 0
    paid: list[str] = field(default_factory=list)
    unacked: set[str] = field(default_factory=set)  # ids of true results sent and not acknowledged
    valid: set[str] = field(default_factory=set)  # ids of the results and result_expired that a till acks
    untrusted: set[str] = field(default_factory=set)  # the other ids
    acked_untrusted: bool = False
    reached: bool = True  # the till was connected while the step was played
    pays: bool = True  # no earlier scenario missed its payment

    def note_result(self, result_id: str, request_id: str | None, *, trusted: bool) -> None:
        """A result, or an event with a result_id. ``request_id``: of a true result, otherwise None."""
        if not trusted:
            # the terminal repeats a true result, so an ack after a forgery with its id can belong to a repeat
            self.untrusted |= {result_id} - self.valid
            return
        self.valid.add(result_id)
        self.untrusted.discard(result_id)
        if request_id in self.requests:
            self.unacked.add(result_id)

    def note_ack(self, result_id: str) -> None:
        self.unacked.discard(result_id)
        self.acked_untrusted |= result_id in self.untrusted


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """One line of the table. ``outcome``: pass, fail, or not_played (``detail`` is then the cause)."""

    scenario: str
    words: str
    outcome: str
    broken: tuple[Rule, ...] = ()
    detail: str = ""


_NOT_FRESH = (Refusal.REQUEST_RETAINED, Refusal.ID_CONFLICT, Refusal.REQUEST_MALFORMED)


def judge(scenario: Scenario, observation: TillObservation) -> ScenarioRow:
    """The row of one scenario. A broken rule has priority over not_played."""
    refusals = observation.refusals
    broken = [Rule.FRESH_REQUEST for refusal, _ in refusals if refusal in _NOT_FRESH]
    stale = [detail for refusal, detail in refusals if refusal == Refusal.REQUEST_STALE]
    broken += [Rule.REQUEST_EPOCH if detail == WRONG_EPOCH else Rule.SENT_AT for detail in stale]
    broken += [Rule.FRESH_REQUEST] * observation.reused + _payment_rules(scenario, observation)
    if not broken and observation.acked_untrusted:
        broken = [scenario.breaks[-1] or scenario.unpaid]
    if not broken and scenario.acked and observation.reached and observation.unacked:
        broken = [Rule.ACK]  # reported only without a more serious fault
    refused = ": ".join(refusals[0]) if refusals else ""
    if broken:
        rules = tuple(dict.fromkeys(broken))
        return ScenarioRow(scenario.name, scenario.words, "fail", rules, refused)
    cause = _why_not_played(scenario, observation, refused)
    return ScenarioRow(scenario.name, scenario.words, "not_played" if cause else "pass", (), cause)


def _payment_rules(scenario: Scenario, observation: TillObservation) -> list[Rule]:
    rules: list[Rule] = []
    for request_id, rule in zip(observation.requests, scenario.breaks, strict=False):
        times = observation.paid.count(request_id)
        if rule is not None and times:
            rules.append(rule)
        elif rule is None and times != 1:
            missing = scenario.unpaid if observation.pays else Rule.PAYS
            rules.append(Rule.ONCE if times else missing)
    others = set(observation.paid) - set(observation.requests)
    return rules + [Rule.LATE if each in observation.earlier else Rule.REQUEST_ID for each in others]


def _why_not_played(scenario: Scenario, observation: TillObservation, refused: str) -> str:
    if len(observation.requests) < len(scenario.steps):
        return refused or NOT_ASKED
    if scenario.command == CANCEL and not observation.cancels:
        return "the till did not cancel"
    return "" if observation.reached else "the till did not reconnect before its deadline"
