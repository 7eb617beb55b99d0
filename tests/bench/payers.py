"""Living payers and the rules of the challenge: ``python -m tests.bench.payers [N]``. No pixels, no networks.

A photograph on a model of a head is no measure for payers: the detector finds half of the yaw of that model,
and steps. Here the landmarks come from the geometry of a head: eyes, mouth corners and a nose in front of
them, with noise. The rules are those of the agent; the comparison of the faces and the check of the columns
are left out. Prints the share that gets an API call, and the time until then.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from agent.core.challenge import draw
from agent.core.geometry import yaw_ratio
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point, Shot
from agent.core.reasons import Continuity, FrameReason
from agent.core.steps import Effect, Finished, FrameAnalyzed, Limits, StartCall, State, Ticked
from agent.core.verification import advance, begin, wake_at
from tests.core.stories import even
from tests.vision.attacks import prompted

BUDGET_MS = 7_750
EYE_MM, MOUTH_MM, DOWN_MM, NOSE_MM = 31.0, 24.0, 66.0, 25.0  # half distances; down to the mouth; in front
NOSE_DOWN = 0.56  # of the way from the eyes to the mouth
EYE_PX, NOISE_PX = 35.0, 0.9  # half the distance of the eyes; of each coordinate
DEGREES = (36.0, 50.0)  # of a turn
WHOLE_MS = 300  # between two frames that can be a shot
SCORE, SHOT_YAW = 85.0, 0.3  # an excellent shot; the limit of ``head_pose_yaw``

# turns, ms between frames, fastest and slowest turn in ms (one way)
ROWS = (
    (2, 100, 400, 600),
    (2, 100, 600, 900),
    (1, 100, 600, 900),
    (2, 200, 600, 900),
    (2, 200, 1_000, 1_500),
    (2, 333, 1_000, 1_500),
    (2, 500, 1_500, 2_000),
)


@dataclass
class Head:
    """Turns as prompted: reacts, moves with minimum jerk, sways."""

    dice: Random
    degrees: float
    turn_ms: float
    moves: list[tuple[float, float, float]] = field(default_factory=lambda: [(-1e6, 0.0, 0.0)])

    def yaw(self, state: State, at_ms: int) -> float:
        wanted = prompted(state) * self.degrees
        if wanted != self.moves[-1][2]:
            start_ms = at_ms + self.dice.uniform(220, 400)
            self.moves.append((start_ms, self._at(start_ms), wanted))
        return self._at(at_ms) + 1.5 * math.sin(at_ms / 700)

    def _at(self, at_ms: float) -> float:
        start_ms, origin, aim = [move for move in self.moves if move[0] <= at_ms][-1]
        share = min(1.0, (at_ms - start_ms) / self.turn_ms)
        return origin + (aim - origin) * (10 * share**3 - 15 * share**4 + 6 * share**5)


def landmarks(degrees: float, dice: Random) -> Landmarks:
    angle, scale = math.radians(degrees), EYE_PX / EYE_MM

    def seen(x_mm: float, y_mm: float, z_mm: float) -> Point:
        x = x_mm * math.cos(angle) + z_mm * math.sin(angle)
        return Point(320 + scale * x + dice.gauss(0, NOISE_PX), 150 + scale * y_mm + dice.gauss(0, NOISE_PX))

    eyes = seen(-EYE_MM, 0, 0), seen(EYE_MM, 0, 0)
    nose = seen(0, NOSE_DOWN * DOWN_MM, NOSE_MM)
    return Landmarks(*eyes, nose, seen(-MOUTH_MM, DOWN_MM, 0), seen(MOUTH_MM, DOWN_MM, 0))


@dataclass
class Camera:
    """Analyses as of ``LocalFaceAnalyzer``: a change of the reason makes the frame a whole one."""

    dice: Random
    whole_ms: int = 0
    was_usable: bool = False

    def analysis(self, degrees: float, at_ms: int) -> Analysis:
        face = Detection(Box(260, 110, 120, 160), landmarks(degrees, self.dice), 0.9)
        reason, quality, shot = FrameReason.TURNED, even(SCORE), None
        if abs(yaw_ratio(face.landmarks)) <= SHOT_YAW:
            reason = FrameReason.FOLLOWED
            if not self.was_usable or at_ms - self.whole_ms >= WHOLE_MS:
                reason, self.whole_ms = FrameReason.SHOT, at_ms
                shot = Shot(Frame(None, at_ms, at_ms, 640, 360), face, quality, 1)
        self.was_usable = reason is not FrameReason.TURNED
        return Analysis(at_ms, at_ms, reason, face, 1, quality, shot, continuity=Continuity.SAME)


def play(seed: int, turns: int, frame_ms: int, turn_ms: tuple[int, int]) -> tuple[int | None, str]:
    """(time of the API call in ms, or None; the reason of the end)."""
    dice = Random(seed)
    limits = replace(Limits(), turns=turns, plans=draw(turns, dice.randrange))
    head, camera = Head(dice, dice.uniform(*DEGREES), dice.uniform(*turn_ms)), Camera(dice)
    state: State = begin(BUDGET_MS)
    at_ms = 0
    effects: tuple[Effect, ...] = ()
    while not isinstance(state, Finished):
        at_ms += frame_ms
        while not isinstance(state, Finished) and wake_at(state) <= at_ms and not effects:
            state, effects = advance(state, Ticked(wake_at(state)), limits)
        if not isinstance(state, Finished) and not effects:
            seen = FrameAnalyzed(at_ms, camera.analysis(head.yaw(state, at_ms), at_ms))
            state, effects = advance(state, seen, limits)
        if any(isinstance(effect, StartCall) for effect in effects):
            return at_ms, "call"
    return None, state.reason.value


def row(count: int, turns: int, frame_ms: int, fastest_ms: int, slowest_ms: int) -> str:
    ends = [play(seed, turns, frame_ms, (fastest_ms, slowest_ms)) for seed in range(count)]
    times = sorted(ms for ms, _ in ends if ms is not None)
    others = Counter(reason for ms, reason in ends if ms is None)
    p50, p95 = (times[int(share * len(times))] if times else "–" for share in (0.5, 0.95))
    how = ", ".join(f"`{reason}` {number}" for reason, number in others.most_common()) or "–"
    title = f"{turns} | {round(1e3 / frame_ms)} | {fastest_ms / 1e3:.1f}–{slowest_ms / 1e3:.1f}"
    return f"| {title} | {len(times)} of {count} | {p50} | {p95} | {how} |"


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    print("| turns | frames/s | s for a turn | passed | ms p50 | ms p95 | others |")
    print("|---|---|---|---|---|---|---|")
    for each in ROWS:
        print(row(count, *each), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
