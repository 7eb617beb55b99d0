"""Visits that were not used for tuning the gate's limits: other people, another seed, other light.

The real face analyzer and the real rules run frame by frame in scene time: a day at the till takes minutes.
Person, time, position, distance and light are random numbers from one seed. After a change of a rule or limit
because of one of these visits, use a new seed and note the reason here. Seed 20261130 showed an API call for
a running person.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import Person, Photo, Scene, SceneStep
from agent.config import PolicyConfig, VisionConfig
from agent.core.model import Comparison, Frame, Shot
from agent.core.policy import PolicyLimits
from agent.core.reasons import Decision
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
    CallAnswered,
    Event,
    Finished,
    FrameAnalyzed,
    Limits,
    StartCall,
    State,
    Ticked,
)
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.bench.frames import HEIGHT_PX, WIDTH_PX
from tests.bench.photos import Face, faces, origins
from tests.bench.report import Row, Section

SEED = 20_261_201
_PAYER_DISTANCE = 0.5  # largest distance between the call's face and the payer, in face heights
FRAME_MS, BUDGET_MS, ANSWER_MS, MARGIN_MS = 100, 8_000, 400, 250


@dataclass(frozen=True, slots=True)
class Visit:
    """The scene in front of the camera from the arrival of the request."""

    scene: Scene
    is_payer: bool  # a payer comes and looks at the camera; else no payer
    seed: int


@dataclass(slots=True)
class Counts:
    visits: int = 0
    without_payer: int = 0
    calls: int = 0
    useless: int = 0
    missed: int = 0
    frames: int = 0
    waits_ms: list[int] = field(default_factory=list)

    def add(self, visit: Visit, calls: list[bool], matched_ms: int | None) -> None:
        """Count one visit. ``calls``: whether each call shows the payer; the first such call is useful."""
        self.visits += visit.is_payer
        self.without_payer += not visit.is_payer
        self.calls += len(calls)
        self.useless += len(calls) - any(calls)
        self.missed += visit.is_payer and matched_ms is None
        if matched_ms is not None:
            self.waits_ms.append(matched_ms)


def random_visits(count: int, names: list[str]) -> list[Visit]:
    """Two of three visits have a payer; half of all have a passer-by, who never looks at the camera."""
    random = np.random.default_rng(SEED)
    return [_visit(random, number, names) for number in range(count)]


def _visit(random: np.random.Generator, number: int, names: list[str]) -> Visit:
    people = list[Person]()
    if random.random() < 0.5:
        people.append(_passer_by(random, str(random.choice(names))))
    is_payer = number % 3 != 2
    if is_payer:
        people.append(_payer(random, str(random.choice(names))))
    light, noise = float(random.uniform(0.45, 1.2)), float(random.uniform(1, 5))
    scene = Scene(length_ms=20_000, people=tuple(people), light=light, noise=noise)
    return Visit(scene, is_payer, int(random.integers(1, 1_000_000)))


def _payer(random: np.random.Generator, name: str) -> Person:
    """Approaches from one side, turns the head, stands for three to five seconds, leaves."""
    side, arrival_ms = (-0.3, 1.3)[int(random.integers(2))], int(random.uniform(700, 2_500))
    turn = 60 if side < 0 else -60
    x, y, size = (float(random.uniform(*span)) for span in ((0.35, 0.65), (0.4, 0.5), (0.26, 0.4)))
    left_ms = arrival_ms + int(random.uniform(3_000, 5_000))
    steps = (
        {"at_ms": 0, "x": side, "y": y, "face": 0.7 * size, "turn": turn},
        {"at_ms": arrival_ms, "x": x, "y": y, "face": 0.95 * size, "turn": turn / 4},
        {"at_ms": arrival_ms + 400, "x": x, "y": y, "face": size},
        {"at_ms": left_ms, "x": x, "y": y, "face": size},
        {"at_ms": left_ms + 1_500, "x": side, "y": y, "face": 0.8 * size, "turn": -2 * turn},
    )
    return Person(photo=name, path=tuple(SceneStep.model_validate(step) for step in steps))


def _passer_by(random: np.random.Generator, name: str) -> Person:
    start_ms, size = int(random.uniform(0, 3_000)), float(random.uniform(0.1, 0.2))
    ends = ({"x": -0.3}, {"x": 1.3}) if random.random() < 0.5 else ({"x": 1.3}, {"x": -0.3})
    path = tuple(
        SceneStep.model_validate({"at_ms": at_ms, "y": 0.35, "face": size, "turn": 110, **end})
        for at_ms, end in zip((start_ms, start_ms + 3_500), ends, strict=True)
    )
    return Person(photo=name, path=path)


def is_alone(face: Face, people: list[Face]) -> bool:
    """Whether a cutout of the person contains no other face: none beside the head, shoulders or chest."""
    x, y, wide, high = face.box

    def is_beside(other: Face) -> bool:
        left, top, other_wide, other_high = other.box
        across = abs(left + other_wide / 2 - x - wide / 2)
        return across < 1.1 * high + other_wide / 2 and y - 0.6 * high - other_high < top < y + 3 * high

    return not any(is_beside(other) for other in people if other.file == face.file and other is not face)


def is_about_payer(visit: Visit, shot: Shot, after_ms: int) -> bool:
    """Whether the face of a shot is at the payer's position ``after_ms`` into the visit."""
    payer = visit.scene.people[-1].at(after_ms) if visit.is_payer else None
    if payer is None:
        return False
    at = shot.face.box.centre
    away_px = np.hypot(at.x_px - payer.x * WIDTH_PX, at.y_px - payer.y * HEIGHT_PX)
    return bool(away_px <= _PAYER_DISTANCE * payer.face * HEIGHT_PX)


def play(
    visit: Visit, sprites: SpriteCache, analyzer: LocalFaceAnalyzer, counts: Counts, start_ms: int
) -> None:
    """One request from its arrival to its result, in scene time."""
    renderer = SceneRenderer(visit.scene, WIDTH_PX, HEIGHT_PX, visit.seed, sprites)
    limits, calls, answers = Limits(), list[bool](), list[Event]()
    state: State = begin(start_ms + BUDGET_MS - MARGIN_MS, start_ms)
    analyzer.begin(start_ms)
    at_ms = start_ms
    while not isinstance(state, Finished):
        at_ms += FRAME_MS
        pixels = renderer.picture(at_ms - start_ms)
        analysis = analyzer.analyze(Frame(pixels, at_ms, at_ms, WIDTH_PX, HEIGHT_PX))
        counts.frames += 1
        due = [Ticked(wake_at(state))] if wake_at(state) <= at_ms else []
        ready = [answer for answer in answers if answer.at_ms <= at_ms]
        for event in sorted([*due, *ready, FrameAnalyzed(at_ms, analysis)], key=lambda each: each.at_ms):
            state, effects = advance(state, event, limits)
            for call in (effect for effect in effects if isinstance(effect, StartCall)):
                calls.append(is_about_payer(visit, call.shot, call.shot.frame.captured_ms - start_ms))
                comparison = Comparison(95.0 if calls[-1] else 5.0, 80.0, "bench")
                answers = [CallAnswered(event.at_ms + ANSWER_MS, call.number, comparison)]
    matched = state.decision is Decision.MATCH
    counts.add(visit, calls, at_ms - start_ms if matched else None)


def run(*, quick: bool) -> Section:
    section = Section("visits that were not used for tuning")
    people = faces()
    new_people = [face for face in people if face.is_new_person and is_alone(face, people)]
    photos = {
        face.name: Photo(file=str(face.file), person=face.name, face=face.box)
        for face in new_people or people
    }
    sprites, counts = SpriteCache(photos), Counts()
    analyzer = LocalFaceAnalyzer(VisionConfig(), PolicyLimits(**PolicyConfig().model_dump()))
    for number, visit in enumerate(random_visits(6 if quick else 90, list(photos))):
        play(visit, sprites, analyzer, counts, start_ms=100_000 * (number + 1))
    section.rows.append(_row(counts))
    section.measure("useless_calls_of_visits", counts.useless)
    section.measure("missed_visits_of_people", counts.missed)
    if not new_people:
        section.notes.append(
            "ONLY THE SHIPPED PHOTOGRAPHS, on which the gate's limits were set: not a proof of the goal"
        )
    section.notes += [
        f"seed {SEED}, {len(photos)} people, light 0.45-1.2, noise 1-5 levels, faces 0.26-0.4 of the height;"
        " the gate's numbers were set on the shipped photographs with other seeds; one rule (an excellent"
        " shot waits for a second frame) was made on these people with another seed",
        f"{sum(face.is_new_person for face in people) - len(new_people)} new people are left out because"
        " the cutout would contain a second face",
        "a call is counted for the payer if its face is at the position of the payer; the API answers after"
        " 400 ms with a match for the payer only; half the visits have a passer-by; scene times",
        *origins(),
    ]
    return section


def _row(counts: Counts) -> Row:
    waits = sorted(counts.waits_ms)
    return {
        "visits": counts.visits,
        "requests without a person": counts.without_payer,
        "calls": counts.calls,
        "useless": counts.useless,
        "missed": counts.missed,
        "frames": counts.frames,
        "calls saved": counts.frames - counts.calls,
        "arrival -> result p50 (ms)": waits[len(waits) // 2] if waits else 0,
    }
