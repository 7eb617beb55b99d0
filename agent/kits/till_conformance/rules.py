"""The rules that a till broke in a scenario, from the messages observed on the broker. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.core.admission import WRONG_EPOCH
from agent.core.reasons import Refusal
from agent.kits.till_conformance.scenarios import CANCEL, NO_REQUEST, Preparation, Rule, Scenario


@dataclass(slots=True)
class TillObservation:
    """The messages of one scenario, in order."""

    requests: list[str] = field(default_factory=list)  # accepted request ids
    refusals: list[tuple[str, str]] = field(default_factory=list)  # (refusal, detail), not by script
    earlier: set[str] = field(default_factory=set)  # request ids of earlier scenarios
    sent_get_state: bool = True  # False: no get_state arrived after a new connection
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
    broken = [*_request_rules(scenario, observation), *_payment_rules(scenario, observation)]
    if not broken and observation.acked_untrusted:
        broken = [scenario.breaks[-1] or scenario.unpaid]
    if not broken and scenario.acked and observation.reached and observation.unacked:
        broken = [Rule.ACK]  # reported only without a more serious fault
    refused = ": ".join(observation.refusals[0]) if observation.refusals else ""
    if broken:
        rules = tuple(dict.fromkeys(broken))
        return ScenarioRow(scenario.name, scenario.words, "fail", rules, refused)
    cause = _why_not_played(scenario, observation, refused)
    return ScenarioRow(scenario.name, scenario.words, "not_played" if cause else "pass", (), cause)


def _request_rules(scenario: Scenario, observation: TillObservation) -> list[Rule]:
    if not observation.sent_get_state:
        return [Rule.GET_STATE]  # the cause of an old epoch in the request
    rules = [Rule.FRESH_REQUEST for refusal, _ in observation.refusals if refusal in _NOT_FRESH]
    stale = [detail for refusal, detail in observation.refusals if refusal == Refusal.REQUEST_STALE]
    epoch = Rule.STATE_SIGNATURE if scenario.preparation is Preparation.FORGED_STATE else Rule.REQUEST_EPOCH
    rules += [epoch if detail == WRONG_EPOCH else Rule.SENT_AT for detail in stale]
    return [*rules, Rule.FRESH_REQUEST] if observation.reused else rules


def _payment_rules(scenario: Scenario, observation: TillObservation) -> list[Rule]:
    rules: list[Rule] = []
    if not observation.sent_get_state:
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


def _why_not_played(scenario: Scenario, observation: TillObservation, refused: str) -> str:
    if len(observation.requests) < len(scenario.steps):
        return refused or NO_REQUEST
    if scenario.command == CANCEL and not observation.cancels:
        return "the till did not cancel"
    return "" if observation.reached else "the till did not reconnect before its deadline"
