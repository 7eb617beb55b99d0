"""The scenarios of the conformance kit, and the rules that a till broke in a scenario (pure functions).

Input: the messages observed on the broker. Rule names and texts are those of the contract (``x-duty``).
"""

from __future__ import annotations

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
FORGED_STATE, NO_RETAINED = "forged_state", "no_retained"  # actions of the kit before the request


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
    before: str = ""  # the action of the kit before the request


def _scenario(
    name: str,
    words: str,
    breaks: Rule | None,
    fault: Fault = Fault.NONE,
    reason: Reason = Reason.SAME_PERSON,
    *,
    acked: bool = True,
    unpaid: Rule = Rule.PAYS,
) -> Scenario:
    """A scenario of one request. After a forged match the true result is another person."""
    truth = Reason.DIFFERENT_PERSON if fault in FORGED else reason
    step = ScriptStep(reason=truth, fault=fault, delay_ms=100)
    command = CANCEL if fault is Fault.IGNORES_CANCEL else ""
    return Scenario(name, words, (step,), (breaks,), acked, command, unpaid)


SCENARIOS = (
    _scenario("match", "a good match", None),
    _scenario("no_match", "another person", Rule.MATCH_ONLY, reason=Reason.DIFFERENT_PERSON),
    _scenario("undecided", "no face", Rule.MATCH_ONLY, reason=Reason.NO_FACE),
    _scenario("unknown_decision", "a signed unknown decision", Rule.MATCH_ONLY, Fault.UNKNOWN_DECISION,
              acked=False),
    _scenario("busy", "the terminal refuses", Rule.MATCH_ONLY, Fault.BUSY, acked=False),
    _scenario("silent", "no answer at all", Rule.MATCH_ONLY, Fault.SILENT, acked=False),
    _scenario("expired", "only the event result_expired", Rule.MATCH_ONLY, Fault.EXPIRED),
    Scenario("forged_state", "forged states with another epoch, then a good match",
             (ScriptStep(delay_ms=100),), (None,), before=FORGED_STATE),
    _scenario("wrong_signature", "a match signed by another key", Rule.SIGNATURE, Fault.WRONG_SIGNATURE),
    _scenario("wrong_kid", "a match with the right signature and the kid of another key",
              Rule.SIGNATURE, Fault.WRONG_KID),
    _scenario("wrong_kind", "a match signed as a cancel", Rule.SIGNATURE, Fault.WRONG_KIND),
    _scenario("altered", "a result changed into a match after it was signed", Rule.SIGNATURE, Fault.ALTERED),
    _scenario("unsigned", "a match without signature", Rule.SIGNATURE, Fault.UNSIGNED),
    _scenario("forged_before", "another key's no_match with the ids of the true match, then the true match",
              None, Fault.FORGED_BEFORE, unpaid=Rule.SIGNATURE),
    _scenario("forged_after", "no_match; after your ack another key's match with the same ids",
              Rule.SIGNATURE, Fault.FORGED_AFTER, Reason.DIFFERENT_PERSON),
    _scenario("additions", "an unknown event, stage and optional field, then a match with an unknown field",
              None, Fault.ADDITIONS, unpaid=Rule.ADDITIONS),
    _scenario("wrong_request", "a match with another request_id", Rule.REQUEST_ID, Fault.WRONG_REQUEST),
    _scenario("wrong_nonce", "a match with another nonce", Rule.NONCE, Fault.WRONG_NONCE),
    _scenario("wrong_sha256", "a match with another request_sha256", Rule.REQUEST_SHA256, Fault.WRONG_SHA256),
    _scenario("wrong_terminal", "a match that names another terminal", Rule.TERMINAL, Fault.WRONG_TERMINAL),
    _scenario("wrong_epoch", "a match of another epoch", Rule.EPOCH, Fault.WRONG_EPOCH),
    _scenario("duplicate", "a match, twice", None, Fault.DUPLICATE),
    _scenario("late", "accepted comes late; a match comes just after ttl_ms", Rule.LATE, Fault.LATE),
    Scenario("reorder", "a match that comes while the next request is open",
             (ScriptStep(fault=Fault.REORDER, delay_ms=100),
              ScriptStep(reason=Reason.DIFFERENT_PERSON, delay_ms=100)), (Rule.LATE, Rule.REQUEST_ID)),
    _scenario("cancel", "a match after your cancel", Rule.CANCELLED, Fault.IGNORES_CANCEL),
    Scenario("till_restart", "your till restarts with an open request; then a match comes",
             (ScriptStep(delay_ms=100),), (Rule.RESTART,), command=RESTART),
    _scenario("retained", "your link is cut; a match is retained", Rule.RETAINED, Fault.RETAINED,
              acked=False),
    _scenario("crash", "a match; the terminal crashes, and sends it again", None, Fault.CRASH),
    _scenario("restart", "a good match after that restart, with its new epoch", None),
    Scenario("no_retained", "the terminal restarts while your link is cut, and the broker retains no state",
             (ScriptStep(delay_ms=100),), (None,), before=NO_RETAINED),
    _scenario("interrupted",
              "the terminal crashes before the result; its next process answers with your request's epoch",
              Rule.MATCH_ONLY, Fault.CRASH_EARLY),
    _scenario("rotated", "the terminal restarts with a new key; a stored no_match has the old signature",
              Rule.MATCH_ONLY, Fault.ROTATED, Reason.DIFFERENT_PERSON),
    _scenario("new_key", "a good match with the new key's signature", None),
    _scenario("old_key", "a match of the new epoch with the old key's signature", Rule.ROTATION,
              Fault.OLD_KEY),
    _scenario("forged_rotation", "another key signs a statement about itself, and then a match",
              Rule.ROTATION, Fault.FORGED_ROTATION),
)  # fmt: skip


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
    asked_for_state: bool = True  # false: no get_state came after a new connection
    reused: bool = False  # an earlier request has the same request_id or nonce
    cancels: int = 0
    paid: list[str] = field(default_factory=list)
    unacked: set[str] = field(default_factory=set)  # ids of true results sent and not acknowledged
    untrusted: set[str] = field(default_factory=set)  # ids that no valid result or result_expired has so far
    acked_untrusted: bool = False
    reached: bool = True  # the till was connected while the step was played
    pays: bool = True  # no earlier scenario missed its payment

    def note_result(self, result_id: str, request_id: str | None, *, trusted: bool) -> None:
        """A result, or an event with a result_id. ``request_id``: of a true result, otherwise None."""
        if not trusted:
            self.untrusted.add(result_id)
            return
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
    broken = [*_request_rules(scenario, observation), *_payment_rules(scenario, observation)]
    if not broken and observation.acked_untrusted:
        broken = [scenario.breaks[-1] or scenario.unpaid]
    if not broken and scenario.acked and observation.reached and observation.unacked:
        broken = [Rule.ACK]  # reported only without a more serious fault
    if broken:
        rules = tuple(dict.fromkeys(broken))
        return ScenarioRow(scenario.name, scenario.words, "fail", rules, _first_refusal(observation))
    cause = _why_not_played(scenario, observation)
    return ScenarioRow(scenario.name, scenario.words, "not_played" if cause else "pass", (), cause)


def _first_refusal(observation: TillObservation) -> str:
    return ": ".join(observation.refusals[0]) if observation.refusals else ""


def _request_rules(scenario: Scenario, observation: TillObservation) -> list[Rule]:
    rules = [Rule.FRESH_REQUEST for refusal, _ in observation.refusals if refusal in _NOT_FRESH]
    stale = [detail for refusal, detail in observation.refusals if refusal == Refusal.REQUEST_STALE]
    epoch = Rule.STATE_SIGNATURE if scenario.before == FORGED_STATE else Rule.REQUEST_EPOCH
    if not observation.asked_for_state:
        return [Rule.GET_STATE]  # the cause of an old epoch in the request
    rules += [epoch if detail == WRONG_EPOCH else Rule.SENT_AT for detail in stale]
    return [*rules, Rule.FRESH_REQUEST] if observation.reused else rules


def _payment_rules(scenario: Scenario, observation: TillObservation) -> list[Rule]:
    rules: list[Rule] = []
    if not observation.asked_for_state:
        return rules
    for request_id, rule in zip(observation.requests, scenario.breaks, strict=False):
        times = observation.paid.count(request_id)
        if rule is not None and times:
            rules.append(rule)
        elif rule is None and times != 1:
            missing = scenario.unpaid if observation.pays else Rule.PAYS
            rules.append(Rule.ONCE if times else missing)
    others = set(observation.paid) - set(observation.requests)
    return rules + [Rule.LATE if each in observation.earlier else Rule.REQUEST_ID for each in others]


def _why_not_played(scenario: Scenario, observation: TillObservation) -> str:
    if len(observation.requests) < len(scenario.steps):
        return _first_refusal(observation) or NOT_ASKED
    if scenario.command == CANCEL and not observation.cancels:
        return "the till did not cancel"
    return "" if observation.reached else "the till did not reconnect before its deadline"
