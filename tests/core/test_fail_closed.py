"""Every combination of checks: a check that fails or is missing never gives a match."""

from __future__ import annotations

import itertools
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from agent.core.model import LivenessCheck, Shot
from agent.core.reasons import Continuity, Decision, Reason
from agent.core.verification import advance
from agent.core.verification_types import (
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
from agent.errors import AgentError, ModelError, Retry
from agent.terminal.results import checks_of, liveness_of
from agent.terminal.verification_runner import reason_of
from agent.vision import shot_checks
from agent.vision.face_identity import FaceIdentity
from tests.core.builders import answer
from tests.core.test_challenge import LEFT, TURNED, Scenario, limits

CHALLENGES = ("passed", "jumped", "flat", "none")
IDENTITIES: tuple[Continuity | None, ...] = (*Continuity, None)  # None: no model
RELIEFS = (True, False)
SHADINGS = (True, False, None)
MODELS = ("live", "refused", "broken", "off")  # the passive model, and the external model
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


class Identity(FaceIdentity):
    """Returns ``found`` for the faces of a challenge; None: no model."""

    def __init__(self, found: Continuity | None) -> None:
        super().__init__()
        self.found = found

    def compare_challenge(
        self, evidence: tuple[object, ...], starts: tuple[object, ...], usable: object
    ) -> Continuity:
        assert evidence
        if self.found is None:
            raise ModelError("no embedding model", code="model_missing")
        return self.found


class Model:
    def __init__(self, name: str, answer: str) -> None:
        self.name, self.answer = name, answer

    def is_live(self, _bgr: object, _face: object) -> bool:
        if self.answer == "broken":
            raise ModelError(f"the {self.name} failed")
        return self.answer == "live"


def refusal(
    shot: Shot, identity: Continuity | None, relief: bool, shading: bool | None, models: tuple[str, str]
) -> AgentError | None:
    """The error of the analyzer's checks; None: the face is sent. ``shading`` None: switched off."""
    in_use = [
        Model(name, how) for name, how in zip(("passive", "external"), models, strict=True) if how != "off"
    ]
    try:
        with (
            patch.object(shot_checks, "has_relief", lambda _path: relief),
            patch.object(shot_checks, "changes_light", lambda _path: shading),
        ):
            pixels, is_used = np.zeros((720, 1280, 3), np.uint8), shading is not None
            shot_checks.check_shot(shot, pixels, Identity(identity), in_use, shading=is_used)
    except AgentError as error:
        return error
    return None


def ended(scenario: Scenario, error: AgentError | None, similarity: float) -> Finished:
    """The end after the checks before the call. The challenge stays as it is if no call is due."""
    after = Scenario(scenario.limits)
    after.state, after.at_ms = scenario.state, scenario.at_ms
    if isinstance(after.state, Comparing):
        at_ms = after.at_ms
        reason = Reason.INTERNAL_ERROR if error is None else reason_of(error)
        failed = None if error is None else CallFailed(at_ms, 1, reason, error.retry)
        after.send(failed or CallAnswered(at_ms, 1, answer(similarity)))
    state: State = after.wait(9_000).state
    assert isinstance(state, Finished)
    return state


@pytest.mark.parametrize("challenge", CHALLENGES)
@pytest.mark.parametrize("identity", IDENTITIES)
def test_every_combination_with_a_failed_or_missing_check_is_no_match(
    challenge: str, identity: Continuity | None
) -> None:
    """4 challenges × 4 identities × relief × light × passive model × external model × similarity."""
    scenario = challenged(challenge)
    shot = scenario.state.best if isinstance(scenario.state, Comparing) else None
    for relief, shading, passive, external, similarity in itertools.product(
        RELIEFS, SHADINGS, MODELS, MODELS, SIMILAR
    ):
        error = None if shot is None else refusal(shot, identity, relief, shading, (passive, external))
        end = ended(scenario, error, similarity)
        moved = challenge == "passed" and identity is Continuity.SAME and relief and shading is not False
        all_passed = moved and passive in ("live", "off") and external in ("live", "off")
        assert (end.decision is Decision.MATCH) is (all_passed and similarity >= 80.0)
        assert (end.comparison is not None) is all_passed, "no call after a refusal"
        assert (liveness_of(end) == "passed") is all_passed
        in_use: tuple[LivenessCheck, ...] = ("motion", "identity", "passive")
        in_use = in_use if passive != "off" else in_use[:2]
        assert checks_of(end, in_use) == (in_use if all_passed else ())


def test_checks_without_a_challenge_are_the_passive_model_only() -> None:
    """A terminal without the challenge never reports motion or identity."""
    end = Finished(Decision.MATCH, Reason.SAME_PERSON, 1, answer(93.0))
    assert checks_of(end, ("motion", "identity", "passive")) == ("passive",)
    assert checks_of(replace(end, comparison=None), ("passive",)) == ()
    assert liveness_of(end) == "not_checked"


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
