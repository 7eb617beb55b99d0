"""Payers and films against the rules of the challenge: ``python -m tests.bench.payers [N]``. No networks.

A photograph on a model of a head is no measure for payers: the detector finds half of the yaw of that model,
and steps. Here the landmarks come from the geometry of a head: eyes, mouth corners and a nose in front of
them, with noise. The rules are those of the agent; the comparison of the faces and the check of the columns
are left out. Prints the share that gets an API call, and the time until then; for payers who pass at the
first attempt, how long each phase took; and how often films pass that were made without knowledge of the
prompts (``blind_films``).
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from random import Random
from statistics import mean

from agent.core.challenge_plan import draw
from agent.core.geometry import yaw_ratio
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point, Shot
from agent.core.reasons import Continuity, FrameReason
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
    Challenging,
    Effect,
    Finished,
    FrameAnalyzed,
    Limits,
    StartCall,
    State,
    Ticked,
)
from tests.bench.blind_films import DEGREES, Film, Loop, RandomTurns, minimum_jerk
from tests.core.builders import even
from tests.vision.attacks import prompted

BUDGET_MS = 7_750
EYE_MM, MOUTH_MM, DOWN_MM, NOSE_MM = 31.0, 24.0, 66.0, 25.0  # half distances; down to the mouth; in front
NOSE_DOWN = 0.56  # of the way from the eyes to the mouth
EYE_PX, NOISE_PX = 35.0, 0.9  # half the distance of the eyes; of each coordinate
WHOLE_MS = 300  # between two frames that can be a shot
SCORE, SHOT_YAW = 85.0, 0.3  # an excellent shot; the limit of ``head_pose_yaw``
FILM_PLANS = 40  # to find the best film
LOOPS_MS = ((2_500.0, 5_000.0), (5_000.0, 9_000.0))
PAUSES_MS = ((300.0, 1_500.0), (800.0, 1_500.0))
STRAIGHTER = 0.06  # of the yaw: a face that much straighter than the last shot makes the frame a whole one

SETTLING_MS = 1_500
IRREGULAR_MS = (200.0, 800.0)  # reaction time of a payer who is not used to the prompts


@dataclass
class Head:
    """Turns as prompted: reacts, moves with minimum jerk, sways."""

    random: Random
    degrees: float
    turn_ms: float
    reaction_ms: tuple[float, float] = (220.0, 400.0)
    settling: float = 0.0  # degrees at the first frame that are gone after ``SETTLING_MS``
    moves: list[tuple[float, float, float]] = field(default_factory=lambda: [(-1e6, 0.0, 0.0)])

    def yaw(self, state: State, at_ms: int) -> float:
        wanted = prompted(state) * self.degrees
        if wanted != self.moves[-1][2]:
            start_ms = at_ms + self.random.uniform(*self.reaction_ms)
            self.moves.append((start_ms, self._at(start_ms), wanted))
        settling = self.settling * (1 - minimum_jerk(at_ms / SETTLING_MS))
        return self._at(at_ms) + 1.5 * math.sin(at_ms / 700) + settling

    def _at(self, at_ms: float) -> float:
        start_ms, origin, aim = [move for move in self.moves if move[0] <= at_ms][-1]
        share = (at_ms - start_ms) / self.turn_ms
        return origin + (aim - origin) * minimum_jerk(share)


def landmarks(degrees: float, random: Random) -> Landmarks:
    angle, scale = math.radians(degrees), EYE_PX / EYE_MM

    def seen(x_mm: float, y_mm: float, z_mm: float) -> Point:
        x = x_mm * math.cos(angle) + z_mm * math.sin(angle)
        return Point(
            320 + scale * x + random.gauss(0, NOISE_PX), 150 + scale * y_mm + random.gauss(0, NOISE_PX)
        )

    eyes = seen(-EYE_MM, 0, 0), seen(EYE_MM, 0, 0)
    nose = seen(0, NOSE_DOWN * DOWN_MM, NOSE_MM)
    return Landmarks(*eyes, nose, seen(-MOUTH_MM, DOWN_MM, 0), seen(MOUTH_MM, DOWN_MM, 0))


@dataclass
class Camera:
    """Analyses as of ``LocalFaceAnalyzer``: a change of the reason makes the frame a whole one."""

    random: Random
    whole_ms: int = 0
    shot_yaw: float = 0.0
    was_usable: bool = False

    def analysis(self, degrees: float, at_ms: int) -> Analysis:
        face = Detection(Box(260, 110, 120, 160), landmarks(degrees, self.random), 0.9)
        reason, quality, shot = FrameReason.TURNED, even(SCORE), None
        yaw = abs(yaw_ratio(face.landmarks))
        if yaw <= SHOT_YAW:
            reason = FrameReason.FOLLOWED
            is_better = not self.was_usable or yaw < self.shot_yaw - STRAIGHTER
            if is_better or at_ms - self.whole_ms >= WHOLE_MS:
                reason, self.whole_ms, self.shot_yaw = FrameReason.SHOT, at_ms, yaw
                shot = Shot(Frame(None, at_ms, at_ms, 640, 360), face, quality, 1)
        self.was_usable = reason is not FrameReason.TURNED
        return Analysis(at_ms, at_ms, reason, face, 1, quality, shot, continuity=Continuity.SAME)


@dataclass(frozen=True, slots=True)
class End:
    """``call_ms``: of the API call, or None. ``phases``: of the challenge, each with its first frame."""

    call_ms: int | None
    reason: str
    phases: tuple[tuple[str, int], ...]
    attempts: int


def play(
    seed: int, make: Callable[[Random], Head | Film | Loop | RandomTurns], turns: int, frame_ms: int
) -> End:
    random = Random(seed)
    limits = replace(Limits(), turns=turns, plans=draw(turns, random.randrange))
    actor, camera = make(random), Camera(random)
    state: State = begin(BUDGET_MS)
    at_ms, phases = 0, list[tuple[str, int]]()
    effects: tuple[Effect, ...] = ()
    while not isinstance(state, Finished):
        at_ms += frame_ms
        while not isinstance(state, Finished) and wake_at(state) <= at_ms and not effects:
            state, effects = advance(state, Ticked(wake_at(state)), limits)
        if not isinstance(state, Finished) and not effects:
            seen = FrameAnalyzed(at_ms, camera.analysis(actor.yaw(state, at_ms), at_ms))
            state, effects = advance(state, seen, limits)
        attempts = state.context.liveness.attempts if not isinstance(state, Finished) else 0
        phase = f"{state.progress.turn} {state.progress.phase}" if isinstance(state, Challenging) else ""
        if not phases or phases[-1][0] != phase:
            phases.append((phase, at_ms))
        if any(isinstance(effect, StartCall) for effect in effects):
            return End(at_ms, "call", tuple(phases), attempts)
    return End(None, state.reason.value, tuple(phases), state.liveness.attempts)


@dataclass(frozen=True, slots=True)
class Payers:
    """``turn_ms``: fastest and slowest turn, one way."""

    turns: int
    frame_ms: int
    turn_ms: tuple[int, int]
    reaction_ms: tuple[float, float] = Head.reaction_ms
    degrees: tuple[float, float] = DEGREES
    settling: float = 0.0
    note: str = ""

    def head(self, random: Random) -> Head:
        degrees, turn_ms = random.uniform(*self.degrees), random.uniform(*self.turn_ms)
        return Head(random, degrees, turn_ms, self.reaction_ms, self.settling)


ROWS = (
    Payers(2, 100, (400, 600)),
    Payers(2, 100, (600, 900)),
    Payers(1, 100, (600, 900)),
    Payers(2, 200, (600, 900)),
    Payers(2, 200, (1_000, 1_500)),
    Payers(2, 333, (1_000, 1_500)),
    Payers(2, 500, (1_500, 2_000)),
    Payers(2, 100, (400, 1_100), note=", irregular", reaction_ms=IRREGULAR_MS),
    Payers(2, 100, (600, 900), note=", turns of 28–36°", degrees=(28.0, 36.0)),
    Payers(2, 100, (600, 900), note=", settling by 12°", settling=12.0),
)


def row(count: int, payers: Payers) -> str:
    ends = [play(seed, payers.head, payers.turns, payers.frame_ms) for seed in range(count)]
    times = sorted(end.call_ms for end in ends if end.call_ms is not None)
    others = Counter(end.reason for end in ends if end.call_ms is None)
    p50, p95 = (times[int(share * len(times))] if times else "–" for share in (0.5, 0.95))
    how = ", ".join(f"`{reason}` {number}" for reason, number in others.most_common()) or "–"
    fastest_s, slowest_s = (each / 1e3 for each in payers.turn_ms)
    title = f"{payers.turns}{payers.note} | {round(1e3 / payers.frame_ms)} | {fastest_s:.1f}–{slowest_s:.1f}"
    return f"| {title} | {len(times)} of {count} | {p50} | {p95} | {how} | {timeline(ends)} |"


def timeline(ends: list[End]) -> str:
    """Mean time of each phase, of the payers who passed at the first attempt, in ms."""
    spent = dict[str, list[int]]()
    for end in ends:
        if end.call_ms is not None and end.attempts == 1:
            starts = [*end.phases, ("", end.call_ms)]
            for (phase, since_ms), (_, until_ms) in pairwise(starts):
                spent.setdefault(phase, []).append(until_ms - since_ms)
    return ", ".join(f"{phase} {round(mean(times))}" for phase, times in spent.items() if phase) or "–"


def best_film(count: int, turns: int = 2, frame_ms: int = 100) -> str:
    """The film that passes most often, and how often it passes with other plans."""

    def passed(film: Film, seeds: range) -> int:
        return sum(play(seed, lambda _: film, turns, frame_ms).call_ms is not None for seed in seeds)

    films = [
        Film((first_ms, first_ms + 1_200 + hold_ms + pause_ms), hold_ms)
        for first_ms in range(200, 2_400, 200)
        for hold_ms in (200, 500)
        for pause_ms in range(0, 1_500, 300)
    ]
    best = max(films, key=lambda film: passed(film, range(count, count + FILM_PLANS)))
    return f"best of {len(films)} films, {best}: {passed(best, range(count))} of {count}"


def loops(count: int, periods_ms: tuple[float, float], turns: int = 2, frame_ms: int = 100) -> str:
    def loop(random: Random) -> Loop:
        return Loop(random.uniform(*DEGREES), random.uniform(*periods_ms), random.uniform(0, 6))

    passed = sum(play(seed, loop, turns, frame_ms).call_ms is not None for seed in range(count))
    return f"loops of {periods_ms} ms: {passed} of {count}"


def random_turns(count: int, pauses_ms: tuple[float, float], turns: int = 2, frame_ms: int = 100) -> str:
    passed = sum(
        play(seed, partial(RandomTurns, pauses_ms), turns, frame_ms).call_ms is not None
        for seed in range(count)
    )
    return f"turns at random, pauses of {pauses_ms} ms: {passed} of {count}"


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    print("| turns | frames/s | s for a turn | passed | ms p50 | ms p95 | others | phases, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for each in ROWS:
        print(row(count, each), flush=True)
    print(best_film(count), flush=True)
    for periods_ms in LOOPS_MS:
        print(loops(2 * count, periods_ms), flush=True)
    for pauses_ms in PAUSES_MS:
        print(random_turns(2 * count, pauses_ms), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
