"""The path of each turn of a passed challenge contains the faces of this turn only, at every frame period."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agent.core.challenge import TURN_MS, ChallengeProgress
from agent.core.challenge_phase import Phase
from agent.core.challenge_plan import Plan, TurnSide, draw
from agent.core.motion import SLOWEST_MS
from agent.core.turn_path import TurnPath
from agent.core.verification_types import Challenging, Comparing, Holding
from tests.core.test_challenge import TURNED, Scenario, limits

STEP = TURNED / 2  # degrees, of a head in one frame and in 100 ms: no jump
REACTION_MS = 350
PATH_STEP_MS = 60  # a face that comes sooner than this after the last one of the path is left out


class ObedientHead:
    """A head that follows the prompts, and the frames that bound each turn.

    ``before_ms``: the newest frame at each prompt to turn, or the first straight one after a prompt that
    comes while the head turns back. ``end_ms``: the frame that ends each turn.
    """

    def __init__(self, plan: Plan, period_ms: int) -> None:
        self.scenario = Scenario(limits(plan), deadline_ms=60_000)
        self.period_ms = period_ms
        self.before_ms, self.end_ms = list[int](), list[int]()
        self.yaw = 0.0

    def play(self) -> tuple[TurnPath, ...]:
        """The paths of the passed challenge."""
        scenario = self.scenario.look()
        while isinstance(before := scenario.state, Challenging):
            frame_ms = scenario.at_ms
            scenario.wait(self.period_ms)
            assert isinstance(scenario.state, Challenging)
            progress = scenario.state.progress
            if progress.phase is Phase.TURNING and before.progress.phase is Phase.STEADY:
                self.before_ms.append(frame_ms)
            self._move(progress)
            scenario.look(self.yaw, after_ms=0)
            if progress.phase is Phase.TURNING and not progress.is_straight:
                self.before_ms[-1] = scenario.at_ms
            after = scenario.state
            if not isinstance(after, Challenging) or after.progress.turn != progress.turn:
                self.end_ms.append(scenario.at_ms)
        assert isinstance(scenario.state, Holding | Comparing), scenario.state
        return scenario.state.best.paths

    def _move(self, progress: ChallengeProgress) -> None:
        """Move one step: to the prompted side after the reaction time, back after the turn has counted."""
        aim = 0.0
        if progress.phase is Phase.TURNING:
            is_left = progress.plan[progress.turn].side is TurnSide.LEFT
            has_reacted = self.scenario.at_ms - (progress.until_ms - TURN_MS) >= REACTION_MS
            aim = (TURNED if is_left else -TURNED) if has_reacted else 0.0
        step = STEP * min(1.0, self.period_ms / 100)
        self.yaw += max(-step, min(step, aim - self.yaw))


@given(
    turns=st.integers(1, 3),
    seed=st.integers(0, 2**32),
    period_ms=st.integers(20, SLOWEST_MS),
)
def test_path_of_each_turn_contains_the_faces_of_this_turn_only(
    turns: int, seed: int, period_ms: int
) -> None:
    plan = draw(turns, Random(seed).randrange)[0]
    head = ObedientHead(plan, period_ms)
    paths = head.play()
    assert len(paths) == len(head.before_ms) == len(head.end_ms) == turns
    for turn, path, before_ms, end_ms in zip(plan, paths, head.before_ms, head.end_ms, strict=True):
        times = [int(str(face).removeprefix("face at ")) for face in path.faces]
        assert path.is_left is (turn.side is TurnSide.LEFT)
        assert times == sorted(set(times))
        assert times[0] == before_ms, "begins with a straight face"
        assert end_ms - PATH_STEP_MS < times[-1] <= end_ms
        assert len(times) >= 4, "at the prompt, two turned ones, a straight one"
