"""Every combination of checks: a check that fails or is missing never gives a match."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from agent.core.reasons import Continuity, Decision, Reason
from agent.core.steps import (
    CallAnswered,
    CallFailed,
    Cancelled,
    Comparing,
    Finished,
    Holding,
    InternalFailure,
    Interrupted,
    LivenessProgress,
    State,
)
from agent.core.verification import advance
from agent.errors import AgentError, LivenessError, ModelError, Retry
from agent.terminal.results import liveness_of
from agent.terminal.verification_runner import reason_of
from agent.vision.shot_checks import check_one_person
from tests.core.stories import answer
from tests.core.test_challenge import LEFT, TURNED, Scenario, limits

CHALLENGES = ("passed", "jumped", "flat", "none")
IDENTITIES: tuple[Continuity | None, ...] = (*Continuity, None)  # None: no model
EXTERNALS = ("live", "refused", "broken", "off")
SIMILAR = (93.0, 20.0)


def challenged(how: str) -> Scenario:
    """A verification up to the shot, with the challenge passed or not."""
    scenario = Scenario(limits((LEFT,)), deadline_ms=8_000).look().steady().wait(200)
    match how:
        case "passed":
            scenario.turn().back()
        case "jumped":
            scenario.look(TURNED, times=2).look()
        case "flat":
            scenario.look(40.0, flat=True, times=6).look()
        case _:
            scenario.look(times=3)
    return scenario.wait(200)


def refusal(identity: Continuity | None, external: str) -> AgentError | None:
    """The error of the crop, in the order of the analyzer; None: the face is sent."""
    try:
        if identity is None:
            raise ModelError("no embedding model", code="model_missing")
        check_one_person(identity)
    except AgentError as error:
        return error
    if external == "refused":
        return LivenessError("the external liveness model refused the face")
    return ModelError("the external liveness model failed") if external == "broken" else None


def ended(challenge: str, identity: Continuity | None, external: str, similarity: float) -> Finished:
    scenario = challenged(challenge)
    if isinstance(scenario.state, Comparing):
        error, at_ms = refusal(identity, external), scenario.at_ms
        reason = None if error is None else reason_of(error)
        failed = None if error is None else CallFailed(at_ms, 1, reason or Reason.INTERNAL_ERROR, error.retry)
        scenario.send(failed or CallAnswered(at_ms, 1, answer(similarity)))
    state: State = scenario.wait(9_000).state
    assert isinstance(state, Finished)
    return state


@pytest.mark.parametrize("challenge", CHALLENGES)
@pytest.mark.parametrize("identity", IDENTITIES)
def test_every_combination_with_a_failed_or_missing_check_is_no_match(
    challenge: str, identity: Continuity | None
) -> None:
    for external, similarity in itertools.product(EXTERNALS, SIMILAR):
        end = ended(challenge, identity, external, similarity)
        all_passed = challenge == "passed" and identity is Continuity.SAME and external in ("live", "off")
        assert (end.decision is Decision.MATCH) is (all_passed and similarity >= 80.0)
        if end.decision is Decision.MATCH:
            assert liveness_of(end) == "passed"
        if challenge != "passed" or identity is not Continuity.SAME:
            assert liveness_of(end) != "passed"


@pytest.mark.parametrize("event", [Cancelled, Interrupted, InternalFailure])
@pytest.mark.parametrize("when", ["held", "called", "waiting"])
def test_liveness_of_a_verification_that_ends_before_the_comparison_is_not_passed(
    event: type[Cancelled | Interrupted | InternalFailure], when: str
) -> None:
    """The challenge is completed, but the faces are compared with the shot only before the call."""
    scenario = challenged("passed")
    assert isinstance(scenario.state, Comparing) and scenario.state.context.liveness.passed
    if when == "held":
        scenario.state = Holding(scenario.state.context, scenario.state.best, 30_000, scenario.state.gap)
    elif when == "waiting":
        scenario.send(CallFailed(scenario.at_ms, 1, Reason.COMPARE_BUSY, Retry.SAME))
    end = scenario.send(event(scenario.at_ms)).state
    assert isinstance(end, Finished) and liveness_of(end) == "not_checked"


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.LIVENESS_FAILED])
def test_liveness_without_a_comparison_is_not_checked(reason: Reason) -> None:
    end = Finished(Decision.UNDECIDED, reason, 1, liveness=LivenessProgress(passed=True))
    assert liveness_of(end) == "not_checked"


@pytest.mark.parametrize("missing", ["evidence", "paths"])
def test_a_shot_without_all_evidence_makes_no_call(missing: str) -> None:
    """A second lock: a passed challenge whose faces are missing is not sent."""
    scenario = challenged("passed")
    assert isinstance(scenario.state, Comparing)
    without = replace(scenario.state.best, **{missing: ()})  # type: ignore[arg-type]
    stripped = replace(scenario.state, best=without)
    again = CallFailed(scenario.at_ms, 1, Reason.COMPARE_BUSY, Retry.RESIGN)
    after, effects = advance(stripped, again, scenario.limits)
    assert isinstance(after, Finished) and after.reason is Reason.LIVENESS_NOT_COMPLETED
    assert not any(type(effect).__name__ == "StartCall" for effect in effects)
