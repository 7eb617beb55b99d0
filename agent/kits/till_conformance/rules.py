"""Which rule of the till's duty a till has broken in one scenario: pure, from what was seen on the wire.

The rules' names and words are those of the contract (``x-duty``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agent.core.admission import WRONG_EPOCH
from agent.core.reasons import Reason, Refusal
from agent.errors import ConfigError
from agent.kits.simulator.script import ScriptStep, SimulatedFault
from agent.texts import Text

NOT_ASKED = "no request came"


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
    PAYS = "pays"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is played: one step per request. ``breaks``: the rule that a payment on each request breaks.

    None there: a payment is right, and wanted.
    """

    name: str
    words: str
    steps: tuple[ScriptStep, ...]
    breaks: tuple[Rule | None, ...]
    acked: bool = True  # whether the true result must be acknowledged
    cancels: bool = False  # the till is told to cancel


def _one(name: str, words: str, step: ScriptStep, breaks: Rule | None, *, acked: bool = True) -> Scenario:
    return Scenario(
        name, words, (step,), (breaks,), acked, cancels=step.fault is SimulatedFault.IGNORES_CANCEL
    )


def _bad(fault: SimulatedFault, rule: Rule, words: str, *, acked: bool = True) -> Scenario:
    """A forged match, then the true result: somebody else."""
    return _one(fault.value, words, _step(fault, Reason.DIFFERENT_PERSON), rule, acked=acked)


def _step(fault: SimulatedFault = SimulatedFault.NONE, reason: Reason = Reason.SAME_PERSON) -> ScriptStep:
    return ScriptStep(reason=reason, fault=fault, delay_ms=100)


SCENARIOS = (
    _one("match", "a good match", _step(), None),
    _one("no_match", "somebody else", _step(reason=Reason.DIFFERENT_PERSON), Rule.MATCH_ONLY),
    _one("undecided", "nobody came", _step(reason=Reason.NO_FACE), Rule.MATCH_ONLY),
    _bad(SimulatedFault.UNKNOWN_DECISION, Rule.MATCH_ONLY, "a signed decision nobody knows", acked=False),
    _one("busy", "the terminal refuses", _step(SimulatedFault.BUSY), Rule.MATCH_ONLY, acked=False),
    _one("silent", "no answer at all", _step(SimulatedFault.SILENT), Rule.MATCH_ONLY, acked=False),
    _one("expired", "only the event result_expired", _step(SimulatedFault.EXPIRED), Rule.MATCH_ONLY),
    _bad(SimulatedFault.WRONG_SIGNATURE, Rule.SIGNATURE, "a match signed by another key"),
    _bad(SimulatedFault.WRONG_KIND, Rule.SIGNATURE, "a match signed as a cancel"),
    _bad(SimulatedFault.ALTERED, Rule.SIGNATURE, "a result changed into a match after it was signed"),
    _bad(SimulatedFault.UNSIGNED, Rule.SIGNATURE, "a match without signature"),
    _bad(SimulatedFault.WRONG_REQUEST, Rule.REQUEST_ID, "a match with another request_id"),
    _bad(SimulatedFault.WRONG_NONCE, Rule.NONCE, "a match with another nonce"),
    _bad(SimulatedFault.WRONG_SHA256, Rule.REQUEST_SHA256, "a match with another request_sha256"),
    _bad(SimulatedFault.WRONG_TERMINAL, Rule.TERMINAL, "a match that names another terminal"),
    _bad(SimulatedFault.WRONG_EPOCH, Rule.EPOCH, "a match of another epoch"),
    _one("duplicate", "a match, twice", _step(SimulatedFault.DUPLICATE), None),
    _one("late", "a match after ttl_ms", _step(SimulatedFault.LATE), Rule.LATE),
    Scenario(
        "reorder",
        "a match that comes while the next request is open",
        (_step(SimulatedFault.REORDER), _step(reason=Reason.DIFFERENT_PERSON)),
        (Rule.LATE, Rule.REQUEST_ID),
    ),
    _one("cancel", "a match after your cancel", _step(SimulatedFault.IGNORES_CANCEL), Rule.CANCELLED),
    _one(
        "retained",
        "your link is cut; a match is retained",
        _step(SimulatedFault.RETAINED),
        Rule.RETAINED,
        acked=False,
    ),
    _one("crash", "a match; the terminal crashes, and sends it again", _step(SimulatedFault.CRASH), None),
    _one("restart", "a good match after that restart, with its new epoch", _step(), None),
    _one(
        "interrupted",
        "the terminal crashes before the result; its next process answers with your request's epoch",
        _step(SimulatedFault.CRASH_EARLY),
        Rule.MATCH_ONLY,
    ),
    _one(
        "rotated",
        "the terminal restarts with a new key; a stored no_match has the old signature",
        _step(SimulatedFault.ROTATED, Reason.DIFFERENT_PERSON),
        Rule.MATCH_ONLY,
    ),
    _one("new_key", "a good match with the new key's signature", _step(), None),
    _bad(SimulatedFault.OLD_KEY, Rule.ROTATION, "a match of the new epoch with the old key's signature"),
)


def pick(names: Sequence[str] | None) -> tuple[Scenario, ...]:
    """The scenarios of these names, all without any. Raises ``ConfigError`` for a name there is not."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    for name in names or ():
        if name not in known:
            raise ConfigError(
                f"there is no scenario {name!r}",
                fix=Text("fix.choose_one_of", known=", ".join(known)),
            )
    return tuple(scenario for scenario in SCENARIOS if not names or scenario.name in names)


@dataclass(slots=True)
class TillObservation:
    """What was on the wire in one scenario, in order."""

    requests: list[str] = field(default_factory=list)  # request ids that were taken
    refusals: list[tuple[str, str]] = field(default_factory=list)  # (refusal, detail), not by script
    earlier: set[str] = field(default_factory=set)  # request ids of the scenarios before
    reused: bool = False  # a request_id or nonce had been used before
    cancels: int = 0
    paid: list[str] = field(default_factory=list)
    unacked: set[str] = field(
        default_factory=set
    )  # ids of true results that were sent and not acknowledged since
    reached: bool = True  # the till was there to see what was played


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """One line of the table. ``outcome``: pass, fail, or not_played (then ``detail`` says why)."""

    scenario: str
    words: str
    outcome: str
    broken: tuple[Rule, ...] = ()
    detail: str = ""


_REFUSED = {
    "request_retained": Rule.FRESH_REQUEST,
    "id_conflict": Rule.FRESH_REQUEST,
    "request_malformed": Rule.FRESH_REQUEST,
}


def judge(scenario: Scenario, seen: TillObservation) -> ScenarioRow:
    """Fail beats not played: what was seen was seen."""
    broken = [*_asking(seen), *_paying(scenario, seen)]
    if not broken and scenario.acked and seen.unacked:
        broken = [Rule.ACK]  # a till that has paid wrongly has other worries
    if broken:
        detail = f"{seen.refusals[0][0]}: {seen.refusals[0][1]}" if seen.refusals else ""
        return ScenarioRow(scenario.name, scenario.words, "fail", tuple(dict.fromkeys(broken)), detail)
    why = _unplayed(scenario, seen)
    return ScenarioRow(scenario.name, scenario.words, "not_played" if why else "pass", (), why)


def _asking(seen: TillObservation) -> list[Rule]:
    rules = [_REFUSED[refusal] for refusal, _ in seen.refusals if refusal in _REFUSED]
    stale = [detail for refusal, detail in seen.refusals if refusal == Refusal.REQUEST_STALE]
    rules += [Rule.REQUEST_EPOCH if detail == WRONG_EPOCH else Rule.SENT_AT for detail in stale]
    return [*rules, Rule.FRESH_REQUEST] if seen.reused else rules


def _paying(scenario: Scenario, seen: TillObservation) -> list[Rule]:
    rules: list[Rule] = []
    for request_id, rule in zip(seen.requests, scenario.breaks, strict=False):
        times = seen.paid.count(request_id)
        if rule is not None and times:
            rules.append(rule)
        elif rule is None and times != 1:
            rules.append(Rule.ONCE if times else Rule.PAYS)
    others = set(seen.paid) - set(seen.requests)
    return rules + [Rule.LATE if request_id in seen.earlier else Rule.REQUEST_ID for request_id in others]


def _unplayed(scenario: Scenario, seen: TillObservation) -> str:
    if len(seen.requests) < len(scenario.steps):
        return f"{seen.refusals[0][0]}: {seen.refusals[0][1]}" if seen.refusals else NOT_ASKED
    if scenario.cancels and not seen.cancels:
        return "the till did not cancel"
    return "" if seen.reached else "the till did not come back before its time was up"
