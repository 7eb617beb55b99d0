"""Liveness challenge: a live head passes; every other or unclear input does not pass."""

from __future__ import annotations

import itertools
import random
import re
from copy import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.challenge import TURN_MS
from agent.core.challenge_plan import ATTEMPTS, NEXT_WAIT_MS, WAIT_MS, Plan, Turn, TurnSide, draw
from agent.core.model import Analysis, Landmarks
from agent.core.reasons import Continuity, Decision, FrameReason, Reason
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
    CallAnswered,
    CallFailed,
    CameraFailed,
    Challenging,
    Comparing,
    Event,
    Finished,
    FrameAnalyzed,
    Holding,
    Limits,
    Seeking,
    StartCall,
    State,
    Ticked,
)
from agent.errors import Retry
from tests.core.builders import FACE, answer, shot, unknown
from tests.core.heads import PICTURE, view

LEFT, RIGHT = Turn(TurnSide.LEFT, 700), Turn(TurnSide.RIGHT, 700)
TURNED = 28.0  # degrees
CLEAR = 37.0  # beyond CLEAR_YAW
NEAR = 8.0  # between looking straight and the turn: within one step of both


def limits(*plans: Plan) -> Limits:
    return Limits(turns=len(plans[0]) if plans else 2, plans=plans, hold_ms=100)


def frame(at_ms: int, marks: Landmarks, *, track: int = 1, usable: bool | None = None) -> FrameAnalyzed:
    """An analyzed frame with a face; a face that looks straight ahead is a shot."""
    face = replace(FACE, landmarks=marks)
    straight = abs(marks.nose.x_px - (marks.right_eye.x_px + marks.left_eye.x_px) / 2) < 8
    if straight if usable is None else usable:
        good = replace(shot(at_ms, track=track), face=face)
        view = Analysis(at_ms, at_ms, FrameReason.SHOT, face, track, good.quality, good)
    else:
        view = Analysis(at_ms, at_ms, FrameReason.TURNED, face, track)
    continuity = Continuity.SAME if track == 1 else Continuity.OTHER
    return FrameAnalyzed(at_ms, replace(view, continuity=continuity, appearance=f"face at {at_ms}"))


def prompted(scenario: Scenario) -> str:
    assert isinstance(scenario.state, Challenging), scenario.state
    return scenario.state.progress.prompt


def gone(at_ms: int) -> FrameAnalyzed:
    return FrameAnalyzed(at_ms, Analysis(at_ms, at_ms, FrameReason.NO_FACE))


class Scenario:
    """A verification with a simulated clock; sends each tick when it is due, as the runner does."""

    def __init__(self, limits: Limits, deadline_ms: int = 30_000) -> None:
        self.limits, self.at_ms = limits, 0
        self.state: State = begin(deadline_ms)
        self.asks = 0

    def send(self, event: Event) -> Scenario:
        self.state, effects = advance(self.state, event, self.limits)
        self.asks += sum(isinstance(effect, StartCall) for effect in effects)
        return self

    def look(
        self,
        yaw: float = 0.0,
        *,
        times: int = 1,
        track: int = 1,
        flat: bool = False,
        after_ms: int = 100,
    ) -> Scenario:
        for _ in range(times):
            self.wait(after_ms)
            marks = view(PICTURE, yaw=yaw) if flat else view(yaw=yaw)
            self.send(frame(self.at_ms, marks, track=track, usable=True if flat else None))
        return self

    def turn(self, yaw: float = TURNED, *, times: int = 2, after_ms: int = 100) -> Scenario:
        """Turn from straight to ``yaw`` and stay there for some frames."""
        return self.look(yaw / 2, after_ms=after_ms).look(yaw, times=times, after_ms=after_ms)

    def back(self, yaw: float = TURNED) -> Scenario:
        """Look straight again."""
        return self.look(yaw / 2).look()

    def wait(self, for_ms: int) -> Scenario:
        end_ms = self.at_ms + for_ms
        while not isinstance(self.state, Finished) and wake_at(self.state) <= end_ms:
            self.at_ms = max(self.at_ms, wake_at(self.state))
            self.send(Ticked(self.at_ms))
        self.at_ms = end_ms
        return self

    def steady(self) -> Scenario:
        """Look straight until the prompt is a turn."""
        while isinstance(self.state, Challenging) and self.state.progress.prompt == "look_straight":
            self.look()
        return self

    def ending(self) -> tuple[Decision, Reason]:
        assert isinstance(self.state, Finished), self.state
        return self.state.decision, self.state.reason


@pytest.mark.parametrize("plan", list(itertools.product((LEFT, RIGHT), repeat=2)))
def test_challenge_with_prompted_turns_is_compared_and_may_match(plan: Plan) -> None:
    scenario = Scenario(limits(plan)).look()
    for turn in plan:
        yaw = TURNED if turn.side is TurnSide.LEFT else -TURNED
        scenario.steady().wait(200).turn(yaw).back(yaw)
    scenario.look().wait(200)
    assert isinstance(scenario.state, Comparing)
    assert scenario.asks == 1
    scenario.send(CallAnswered(scenario.at_ms, 1, answer(93.0)))
    assert scenario.ending() == (Decision.MATCH, Reason.SAME_PERSON)
    assert isinstance(scenario.state, Finished)
    assert scenario.state.liveness.passed


def test_challenge_with_two_frames_of_the_wrong_turn_fails() -> None:
    scenario = Scenario(limits((LEFT,))).look().steady().wait(200).turn(-TURNED)
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_FAILED)


def test_challenge_with_one_frame_of_the_wrong_turn_continues() -> None:
    scenario = Scenario(limits((LEFT,))).look().steady().wait(200)
    scenario.turn(-TURNED, times=1).back(-TURNED).turn()
    assert isinstance(scenario.back().state, Holding)


def test_challenge_with_a_photo_turned_far_fails() -> None:
    scenario = Scenario(limits((LEFT,))).look(flat=True).steady().wait(200)
    for yaw in (40, 56, 62, 62):  # at last far beyond what a detector would still follow
        marks = view(PICTURE, yaw=yaw, distance_mm=260)
        scenario.wait(100).send(frame(scenario.at_ms, marks, usable=False))
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_FAILED)


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=1, max_size=60))
def test_challenge_with_views_of_a_flat_picture_makes_no_call(views: list[tuple[float, bool]]) -> None:
    scenario = Scenario(limits((LEFT,), (RIGHT,), (LEFT,)), deadline_ms=8_000)
    for yaw, later in views:
        scenario.look(yaw, flat=True, after_ms=900 if later else 100)
    assert scenario.asks == 0


def test_challenge_without_a_turn_is_not_completed() -> None:
    scenario = Scenario(limits((LEFT,), (RIGHT,)), deadline_ms=9_000).look(times=89)
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)


def test_deadline_between_two_attempts_is_liveness_not_completed() -> None:
    """The last frame shows a usable, followed payer, so the face is not the reason."""
    scenario = Scenario(limits((LEFT,), (RIGHT,)), deadline_ms=3_000).look().turn(times=1)
    assert isinstance(scenario.state, Seeking)
    scenario.send(
        FrameAnalyzed(scenario.at_ms, Analysis(9, scenario.at_ms, FrameReason.FOLLOWED, FACE, 1))
    ).wait(3_000)
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)


def test_each_attempt_has_another_plan_and_the_last_one_ends() -> None:
    scenario = Scenario(limits((LEFT,), (RIGHT,))).look()
    sides = []
    for _ in range(2):
        assert isinstance(scenario.state, Challenging)
        sides.append(scenario.state.progress.plan[0].side)
        scenario.send(gone(scenario.at_ms)).look()
    assert sides == [TurnSide.LEFT, TurnSide.RIGHT]
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)


def test_turn_before_the_prompt_or_the_reaction_time_does_not_count() -> None:
    early = Scenario(limits((LEFT,))).look().turn(times=1)
    assert isinstance(early.state, Seeking)
    swift = Scenario(limits((LEFT,))).look()
    assert isinstance(swift.state, Challenging)
    swift.wait(swift.state.progress.until_ms - swift.at_ms)
    assert isinstance(swift.turn(times=1, after_ms=140).state, Seeking), "280 ms after the prompt"


@pytest.mark.parametrize(("after_ms", "counts"), [(240, False), (340, True)])
def test_motion_within_the_reaction_time_of_the_first_prompt_starts_another_attempt(
    after_ms: int, counts: bool
) -> None:
    """The head has left the straight pose and is not turned yet: the motion began without the prompt."""
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady()  # the prompt is due at this frame
    scenario.look(after_ms=after_ms - 100).look(TURNED / 2)
    assert isinstance(scenario.state, Challenging) is counts


@pytest.mark.parametrize(("period_ms", "longer_ms"), [(50, 400), (100, 450), (140, 490), (151, 500)])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_later_turn_may_take_a_little_longer_than_the_first_turn(
    period_ms: int, longer_ms: int, is_late: bool
) -> None:
    """By a time, and by the frame period with which both turns are measured."""
    parts = max(2, 200 // period_ms)  # of the motion, so that no step is a jump

    def move(begin: float, end: float) -> None:
        for part in range(1, parts + 1):
            scenario.look(begin + (end - begin) * part / parts, after_ms=period_ms)

    scenario = Scenario(limits((LEFT, RIGHT), (LEFT, RIGHT))).look(after_ms=period_ms)
    while prompted(scenario) == "look_straight":
        scenario.look(after_ms=period_ms)
    scenario.look(times=400 // period_ms, after_ms=period_ms)
    move(0, TURNED)
    scenario.look(TURNED, after_ms=period_ms)
    assert isinstance(scenario.state, Challenging)
    first_ms = scenario.state.progress.first_turn_ms
    move(TURNED, 0)
    while prompted(scenario) == "look_straight":
        scenario.look(after_ms=period_ms)
    turned_ms = scenario.state.progress.until_ms - TURN_MS + first_ms + longer_ms + is_late
    before_ms = turned_ms - (parts + 1) * period_ms
    while scenario.at_ms < before_ms - 2 * period_ms:
        scenario.look(after_ms=period_ms)
    scenario.look(after_ms=before_ms - scenario.at_ms)
    move(0, -TURNED)
    scenario.look(-TURNED, after_ms=period_ms)
    assert scenario.at_ms == turned_ms
    assert isinstance(scenario.state, Challenging) is not is_late


def test_a_head_that_is_straight_soon_after_the_first_frame_turns_as_far_as_any_other() -> None:
    """The turn is measured from the straightest frame before the first prompt."""
    scenario = Scenario(limits((LEFT,))).look(8).look(4).steady().look(times=3).turn().back().wait(200)
    assert isinstance(scenario.state, Comparing)


def test_a_head_that_turned_between_the_first_frame_and_the_prompt_starts_another_attempt() -> None:
    """Otherwise films of turns pass more often: their first frame shows a moment of a turn."""
    scenario = Scenario(limits((LEFT,), (LEFT,))).send(frame(0, view(yaw=16), usable=True))
    assert isinstance(scenario.look(8).steady().state, Seeking)


def returning(period_ms: int = 100) -> Scenario:
    """After the first of two turns to the left: a head on the way back, at the next prompt."""
    scenario = Scenario(limits((LEFT, Turn(TurnSide.LEFT, 50)), (LEFT,))).look()
    while prompted(scenario) == "look_straight":
        scenario.look(after_ms=period_ms)
    scenario.look(times=300 // period_ms, after_ms=period_ms).turn(after_ms=period_ms)
    return scenario.look(TURNED / 2, after_ms=period_ms).wait(0)


def test_the_next_prompt_comes_while_the_head_turns_back() -> None:
    assert prompted(returning()) == "turn_left"
    assert prompted(returning(period_ms=310)) == "look_straight", "a person can react before the next frame"


@pytest.mark.parametrize(("between", "counts"), [(TURNED / 2, False), (0.0, True)])
def test_a_later_turn_counts_only_after_a_straight_frame(between: float, counts: bool) -> None:
    scenario = returning().look(between).look(TURNED / 2, times=2).look(TURNED, times=2)
    assert isinstance(scenario.state, Challenging) is counts


def test_a_single_straighter_frame_of_a_turned_head_does_not_bring_the_next_prompt() -> None:
    scenario = Scenario(limits((LEFT, Turn(TurnSide.RIGHT, 50)))).look().steady().look(times=3).turn()
    assert prompted(scenario.look(TURNED + 0.1).look(18).wait(90)) == "look_straight"
    assert prompted(scenario.look(TURNED, after_ms=10).look(24).look(18).wait(0)) == "turn_right"


@pytest.mark.parametrize("flat", [False, True])
def test_a_head_that_has_not_come_back_from_a_turn_is_not_a_turn_the_wrong_way(flat: bool) -> None:
    """The prompt comes on the way back: a payer who turns again at once has not seen it yet."""
    scenario = Scenario(limits((LEFT, Turn(TurnSide.RIGHT, 50)), (LEFT, RIGHT))).look().steady()
    scenario.look(times=3).turn().look(25).look(18).wait(0)
    assert prompted(scenario) == "turn_right"
    scenario.look(TURNED, times=3)
    for yaw in (56, 62, 62) if flat else ():
        marks = view(PICTURE, yaw=yaw, distance_mm=260)
        scenario.wait(100).send(frame(scenario.at_ms, marks, usable=False))
    assert isinstance(scenario.state, Challenging)
    scenario.wait(TURN_MS)
    assert isinstance(scenario.state, Seeking), "it ends by the time limit, without a failed attempt"


def test_a_turn_the_wrong_way_after_a_straight_frame_fails_at_a_later_prompt() -> None:
    scenario = Scenario(limits((LEFT, Turn(TurnSide.RIGHT, 50)))).look().steady().look(times=3).turn().back()
    assert prompted(scenario.look()) == "turn_right"
    assert scenario.look().turn().ending() == (Decision.UNDECIDED, Reason.LIVENESS_FAILED)


def test_the_wait_before_the_first_prompt_begins_with_the_second_frame() -> None:
    """No prompt is due before the frame period is known."""
    scenario = Scenario(limits((Turn(TurnSide.LEFT, 0),))).look()
    assert isinstance(scenario.wait(500).state, Challenging)
    assert scenario.state.progress.prompt == "look_straight"  # type: ignore[union-attr] # challenging
    assert prompted(scenario.look().wait(0)) == "turn_left"


def test_the_wait_before_a_later_prompt_begins_with_the_last_turned_frame() -> None:
    second = Turn(TurnSide.LEFT, 250)
    scenario = Scenario(limits((LEFT, second))).look().steady().wait(200).turn().look(TURNED)
    scenario.look(TURNED / 2).look()  # 200 ms after the last turned frame
    assert prompted(scenario) == "look_straight"
    assert prompted(scenario.wait(50)) == "turn_left"


def test_a_frame_of_a_clear_turn_ends_the_prompt_and_does_not_count_alone() -> None:
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).look(16).look(TURNED)
    assert prompted(scenario) == "look_straight", "at this speed the next frame is clear"
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).look(TURNED / 2).look(20).look(22)
    assert prompted(scenario.look(24)) == "turn_left", "at the limit the next frame may not count"
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).look(TURNED / 2).look(24)
    assert prompted(scenario.look(CLEAR)) == "look_straight"
    assert scenario.look(20).look(TURNED / 2).look().wait(500).asks == 0


def test_a_head_that_stops_before_a_turn_counts_is_prompted_again_when_it_looks_straight() -> None:
    """Not while it is turned: a hint that changes within one motion cannot be followed."""
    scenario = Scenario(limits((LEFT,))).look().steady().wait(200).look(TURNED / 2)
    assert prompted(scenario) == "turn_left"
    for yaw in (26, 24, 26, TURNED / 2):  # at most a yaw of 0.24: the turn does not count
        assert prompted(scenario.look(yaw)) == "look_straight", yaw
    assert prompted(scenario.look()) == "turn_left", "once, for a new motion"
    assert prompted(scenario.look(TURNED / 2)) == "turn_left"
    assert prompted(scenario.turn().look(TURNED / 2)) == "look_straight"
    assert isinstance(scenario.look().state, Holding)


def test_a_head_that_stays_before_a_turn_counts_ends_the_attempt_by_its_time_limit() -> None:
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).look(TURNED / 2).look(26)
    assert prompted(scenario) == "look_straight"
    assert isinstance(scenario.look(26, times=TURN_MS // 100).state, Seeking)


def test_a_clearly_turned_frame_of_a_slow_camera_leaves_the_prompt() -> None:
    """The payer would turn back before the second frame, which the turn needs."""
    scenario = Scenario(limits((LEFT,), (LEFT,))).look(times=4, after_ms=450)
    assert prompted(scenario) == "turn_left"
    for yaw in (11, 22, CLEAR):
        assert prompted(scenario.look(yaw, after_ms=450)) == "turn_left"
    assert prompted(scenario.look(CLEAR, after_ms=450)) == "look_straight", "the turn counts"


@pytest.mark.parametrize("moment", ["during", "held", "comparing"])
def test_another_person_after_the_start_of_the_challenge_is_face_swapped(moment: str) -> None:
    scenario = Scenario(limits((LEFT,))).look().steady().wait(200)
    if moment != "during":
        scenario.turn().back()
    if moment == "comparing":
        scenario.wait(200)
    scenario.look(track=2, after_ms=1)
    assert scenario.ending() == (Decision.UNDECIDED, Reason.FACE_SWAPPED)


@pytest.mark.parametrize("moment", ["during", "held"])
@pytest.mark.parametrize("loss", ["gone", "camera"])
def test_lost_face_resets_a_passed_challenge(moment: str, loss: str) -> None:
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200)
    if moment == "held":
        scenario.turn().back()
    at_ms = scenario.at_ms
    scenario.send(gone(at_ms) if loss == "gone" else CameraFailed(at_ms, Reason.CAMERA_UNAVAILABLE))
    assert isinstance(scenario.state, Seeking)
    assert isinstance(scenario.look().state, Challenging), "from the start again"


def test_new_shot_after_a_failed_call_needs_a_new_challenge() -> None:
    scenario = Scenario(limits((LEFT,), (RIGHT,))).look().steady().wait(200).turn().back().wait(200)
    scenario.send(CallFailed(scenario.at_ms, 1, Reason.FACE_UNUSABLE, Retry.NEW_SHOT)).look()
    assert isinstance(scenario.state, Challenging)
    assert scenario.asks == 1


def test_turns_without_a_plan_make_no_call() -> None:
    scenario = Scenario(limits()).look(times=5).wait(1_000)
    assert scenario.asks == 0
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)


ONE_SIDED = ("straight", "near", "turned", "wrong", "flat", "later")  # another result on the other side
INPUTS = (*ONE_SIDED, "gone", "other", "unknown", "gap")
DEPTH = 6


def after_step(scenario: Scenario, step: str, sign: int) -> Scenario:
    """The scenario after one more step; the given scenario does not change."""
    after = copy(scenario)
    match step:
        case "straight":
            return after.look(after_ms=160)
        case "near":  # between straight and the prompted turn, and good enough for a shot
            after.wait(160)
            return after.send(frame(after.at_ms, view(yaw=sign * NEAR), usable=True))
        case "turned" | "wrong":
            return after.look(sign * (TURNED if step == "turned" else -TURNED), after_ms=160)
        case "flat":
            return after.look(40.0, flat=True, after_ms=160)
        case "other":
            return after.look(track=2, after_ms=160)
        case "unknown" | "gap":
            after.wait(160)
            straight = frame(after.at_ms, view())
            return after.send(unknown(straight, 3 if step == "unknown" else None))
        case "gone":
            return after.wait(160).send(gone(after.at_ms))
        case _:
            return after.look(times=5, after_ms=160)  # straight until the prompt


@pytest.mark.parametrize(("side", "inputs"), [(TurnSide.LEFT, INPUTS), (TurnSide.RIGHT, ONE_SIDED)])
def test_every_series_of_steps_makes_a_call_only_after_the_prompted_turn(
    side: TurnSide, inputs: tuple[str, ...]
) -> None:
    """Every series of six steps: a call needs the prompt, a turn with frames before and after, and straight.

    The first step is a straight face: without a shot nothing begins. The series form a tree; each prefix is
    played once. The tree ends at a call or at the end of a verification: the pattern holds for every longer
    series, and a finished verification does not change.
    """
    # a straight flat picture equals a straight face: it may start and end a challenge, but never turn
    sign = 1 if side is TurnSide.LEFT else -1
    between = "(near|flat)"  # the flat picture stands between straight and the left turn
    path = re.compile(
        f"(straight|flat|near|unknown).* later( straight| flat| near)* {between} turned turned.* {between}"
    )
    compared = played = 0
    rules = replace(limits((Turn(side, 600),), (Turn(side, 600),)), hold_ms=0)
    series: list[tuple[Scenario, tuple[str, ...]]] = [(Scenario(rules).look(), ("straight",))]
    while series:
        scenario, past = series.pop()
        for step in inputs:
            after, now = after_step(scenario, step, sign), (*past, step)
            played += 1
            if after.asks:
                compared += 1
                assert path.search(" ".join(now)), now
                assert not {"other", "gap", "gone", "unknown"} & set(now[now.index("later") + 1 : -1]), now
            elif len(now) < DEPTH and not isinstance(after.state, Finished):
                series.append((after, now))
    assert compared > 0, "a live head passes"
    assert played > len(inputs) ** (DEPTH - 1) / 4, "the tree is large: most series make no call"


@given(st.integers(1, 3), st.randoms(use_true_random=False))
def test_draw_keeps_all_values_within_their_bounds(turns: int, dice: random.Random) -> None:
    plans = draw(turns, dice.randrange)
    assert len(plans) == ATTEMPTS
    for first, *later in plans:
        assert WAIT_MS[0] <= first.wait_ms < WAIT_MS[1]
        assert all(NEXT_WAIT_MS[0] <= turn.wait_ms < NEXT_WAIT_MS[1] for turn in later)
    assert all(len(plan) == turns for plan in plans)
    assert draw(0, lambda n: 0) == ()
    assert TURN_MS > 0
