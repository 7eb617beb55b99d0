"""The broken rule for an observation of the messages: a table of cases."""

from __future__ import annotations

import pytest

from agent.core.reasons import Reason
from agent.kits.simulator.script import SimulatedFault
from agent.kits.till_conformance.rules import TillObservation, judge
from agent.kits.till_conformance.scenarios import SCENARIOS, Rule
from tests.contract.validator import document

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
STALE = ("request_stale", "the epoch is not the one in state")

CASES = [
    pytest.param("match", TillObservation(["r"], paid=["r"]), "pass", [], id="pays on a good match"),
    pytest.param("match", TillObservation(["r"]), "fail", [Rule.PAYS], id="never pays"),
    pytest.param("match", TillObservation(["r"], paid=["r", "r"]), "fail", [Rule.ONCE], id="pays twice"),
    pytest.param(
        "match",
        TillObservation(["r"], paid=["r"], unacked={"x"}),
        "fail",
        [Rule.ACK],
        id="does not acknowledge",
    ),
    pytest.param("match", TillObservation(), "not_played", [], id="does not ask"),
    pytest.param(
        "match", TillObservation(refusals=[STALE]), "fail", [Rule.REQUEST_EPOCH], id="asks with an old epoch"
    ),
    pytest.param(
        "match",
        TillObservation(refusals=[("busy", "b")]),
        "not_played",
        [],
        id="request while the terminal is busy",
    ),
    pytest.param(
        "match",
        TillObservation(["r"], paid=["r"], reused=True),
        "fail",
        [Rule.FRESH_REQUEST],
        id="an old nonce",
    ),
    pytest.param("no_match", TillObservation(["r"]), "pass", [], id="no payment after no_match"),
    pytest.param(
        "no_match", TillObservation(["r"], paid=["r"]), "fail", [Rule.MATCH_ONLY], id="pays on no_match"
    ),
    pytest.param(
        "no_match",
        TillObservation(["r"], paid=["r"], unacked={"x"}),
        "fail",
        [Rule.MATCH_ONLY],
        id="only the most serious rule",
    ),
    pytest.param(
        "no_match",
        TillObservation(["r"], paid=["q"], earlier={"q"}),
        "fail",
        [Rule.LATE],
        id="pays for the previous sale",
    ),
    pytest.param(
        "no_match", TillObservation(["r"], paid=["?"]), "fail", [Rule.REQUEST_ID], id="pays on an unknown id"
    ),
    pytest.param(
        "reorder", TillObservation(["a", "b"], paid=["a"]), "fail", [Rule.LATE], id="pays the first one late"
    ),
    pytest.param(
        "reorder",
        TillObservation(["a", "b"], paid=["b"]),
        "fail",
        [Rule.REQUEST_ID],
        id="uses the first result for the second request",
    ),
    pytest.param("reorder", TillObservation(["a"]), "not_played", [], id="no second request"),
    pytest.param("cancel", TillObservation(["r"], cancels=1), "pass", [], id="cancelled and not paid"),
    pytest.param("cancel", TillObservation(["r"]), "not_played", [], id="did not cancel"),
    pytest.param(
        "cancel",
        TillObservation(["r"], cancels=1, paid=["r"]),
        "fail",
        [Rule.CANCELLED],
        id="pays after its cancel",
    ),
    pytest.param(
        "till_restart",
        TillObservation(["r"], paid=["r"]),
        "fail",
        [Rule.RESTART],
        id="pays after its restart",
    ),
    pytest.param(
        "till_restart",
        TillObservation(["r"], unacked={"x"}, reached=False),
        "not_played",
        [],
        id="did not restart in time",
    ),
    pytest.param(
        "additions", TillObservation(["r"]), "fail", [Rule.ADDITIONS], id="fails on an unknown field"
    ),
    pytest.param(
        "additions", TillObservation(["r"], pays=False), "fail", [Rule.PAYS], id="never paid before"
    ),
    pytest.param(
        "additions",
        TillObservation(["r"], paid=["r"], acked_untrusted=True),
        "fail",
        [Rule.ADDITIONS],
        id="acknowledges an unknown event",
    ),
    pytest.param(
        "wrong_kid",
        TillObservation(["r"], acked_untrusted=True),
        "fail",
        [Rule.SIGNATURE],
        id="acknowledges a forged result",
    ),
    pytest.param(
        "retained", TillObservation(["r"], reached=False), "not_played", [], id="did not reconnect in time"
    ),
    pytest.param(
        "retained",
        TillObservation(["r"], paid=["r"]),
        "fail",
        [Rule.RETAINED],
        id="pays on a retained result",
    ),
    pytest.param(
        "forged_state",
        TillObservation(refusals=[STALE]),
        "fail",
        [Rule.STATE_SIGNATURE],
        id="takes the epoch of a forged state",
    ),
    pytest.param(
        "no_retained",
        TillObservation(refusals=[STALE], sent_get_state=False),
        "fail",
        [Rule.GET_STATE],
        id="does not ask for the state",
    ),
    pytest.param(
        "no_retained",
        TillObservation(refusals=[STALE]),
        "fail",
        [Rule.REQUEST_EPOCH],
        id="asks for the state and ignores the answer",
    ),
]


@pytest.mark.parametrize(("scenario", "observation", "outcome", "broken"), CASES)
def test_the_broken_rule_is_named(
    scenario: str, observation: TillObservation, outcome: str, broken: list[Rule]
) -> None:
    row = judge(BY_NAME[scenario], observation)
    assert (row.outcome, list(row.broken)) == (outcome, broken)
    assert row.detail or outcome != "not_played"


def test_the_rules_are_those_of_the_contract() -> None:
    assert [rule.value for rule in Rule] == list(document()["x-duty"])


def test_every_fault_is_played_and_no_name_twice() -> None:
    played = {step.fault for scenario in SCENARIOS for step in scenario.steps}
    assert played == set(SimulatedFault)
    assert len(BY_NAME) == len(SCENARIOS)


def test_a_payment_is_required_only_for_a_true_match() -> None:
    for scenario in SCENARIOS:
        assert len(scenario.breaks) == len(scenario.steps)
        for step, rule in zip(scenario.steps, scenario.breaks, strict=True):
            assert rule is not None or step.reason is Reason.SAME_PERSON


def test_ack_of_a_repeat_after_a_forgery_with_the_same_id_breaks_no_rule() -> None:
    """A slow till acknowledges the result that the terminal repeated, when the forgery was sent already."""
    observation = TillObservation(["r"])
    observation.note_result("x", "r", trusted=True)
    observation.note_result("x", "r", trusted=True)
    observation.note_ack("x")
    observation.note_result("x", "r", trusted=False)
    observation.note_ack("x")
    assert judge(BY_NAME["forged_after"], observation).outcome == "pass"


def test_ack_of_a_forgery_before_the_true_result_breaks_the_rule() -> None:
    observation = TillObservation(["r"])
    observation.note_result("x", None, trusted=False)
    observation.note_ack("x")
    observation.note_result("x", "r", trusted=True)
    observation.note_ack("x")
    assert judge(BY_NAME["forged_after"], observation).broken == (Rule.SIGNATURE,)
