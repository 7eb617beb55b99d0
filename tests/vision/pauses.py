"""One verification through the real models, with a slow camera, pauses, or another person.

The clock is injected: a pause of 2 s costs no time. A pause stops the whole process, as SIGSTOP does: no
frame is captured, and due events are delivered at its end, before or after the next frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import cv2
import numpy as np

from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import Person, Scene, SceneStep
from agent.config import VisionConfig
from agent.core.model import Comparison, Frame
from agent.core.policy import PolicyLimits
from agent.core.strobe import is_unlit
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
from agent.vision.face_identity import FaceIdentity
from tests.vision.people import detector, new_identity

WIDE, HIGH = 1280, 720
BUDGET_MS, ANSWER_MS, ANALYSIS_MS = 8_000, 400, 15
PAUSES_MS = (100, 2_000)
_UNLIT = 0.05  # of the light


@dataclass(frozen=True, slots=True)
class Visit:
    """The disturbances of one verification."""

    period_ms: int
    holder: str = "obama_portrait"
    other: str | None = None  # replaces the holder in the pause after the first API call
    paused: float = 0.15  # chance of a pause before each frame
    burst: int = 1  # frames in a burst, 30 ms apart, one burst per period
    strobed: bool = False  # the lamp lights every second frame only


@dataclass(frozen=True, slots=True)
class End:
    decision: str
    reason: str
    calls: int
    took_ms: int
    has_changed: bool  # the other person replaced the holder before the end


def new_eye(identity: FaceIdentity | None = None) -> LocalFaceAnalyzer:
    return LocalFaceAnalyzer(VisionConfig(), PolicyLimits(), detector(), identity=identity or new_identity())


class Playback:
    """One verification from the request to its end."""

    def __init__(self, visit: Visit, seed: int, sprites: SpriteCache, limits: Limits | None = None) -> None:
        self._visit, self._dice = visit, Random(seed)
        self._limits = limits or Limits()
        place = {"x": self._dice.uniform(0.4, 0.6), "face": self._dice.uniform(0.26, 0.4)}
        self._stages = {
            name: SceneRenderer(
                Scene(people=(_standing(name, place),), length_ms=60_000), WIDE, HIGH, seed, sprites
            )
            for name in (visit.holder, visit.other or visit.holder)
        }
        self._shown = visit.holder
        self._state: State = begin(BUDGET_MS)
        self._calls = 0
        self._lumas = list[float]()
        self._answers = list[CallAnswered]()
        self._swap_ms: int | None = None
        self._has_changed = False

    def run(self, analyzer: LocalFaceAnalyzer) -> End:
        analyzer.begin(0)
        at_ms, number = self._dice.randrange(self._visit.period_ms), 0
        while not isinstance(self._state, Finished):
            pause_ms = self._pause(at_ms)
            at_ms += pause_ms
            if pause_ms and self._dice.random() < 0.5:
                self._deliver(at_ms, paused=True)  # events that were due in the pause precede the next frame
            if isinstance(self._state, Finished):
                break
            pixels = self._stages[self._shown].picture(at_ms)
            if self._visit.strobed and number % 2:
                pixels = (pixels * _UNLIT).astype(np.uint8)
            self._lumas.append(float(cv2.mean(pixels)[1]))
            if not is_unlit(self._lumas):
                analysis = analyzer.analyze(Frame(pixels, number + 1, at_ms, WIDE, HIGH))
                analyzed = FrameAnalyzed(at_ms + ANALYSIS_MS, analysis)
                self._deliver(at_ms + ANALYSIS_MS, analyzed, paused=pause_ms > 0)
            number += 1
            is_in_burst = number % self._visit.burst
            later_ms = 30 if is_in_burst else self._visit.period_ms - 30 * (self._visit.burst - 1)
            self._deliver(at_ms + later_ms)
            at_ms += later_ms
        state = self._state
        return End(state.decision.value, state.reason.value, self._calls, at_ms, self._has_changed)

    def _pause(self, at_ms: int) -> int:
        if self._swap_ms is not None and at_ms >= self._swap_ms and self._visit.other is not None:
            self._swap_ms, self._shown, self._has_changed = None, self._visit.other, True
            return self._dice.randint(*PAUSES_MS)
        return self._dice.randint(*PAUSES_MS) if self._dice.random() < self._visit.paused else 0

    def _deliver(self, until_ms: int, analyzed: FrameAnalyzed | None = None, *, paused: bool = False) -> None:
        """All due events in order. After a pause the frame is first, and all events get its end time."""
        while not isinstance(self._state, Finished):
            due: list[Event] = [*self._answers[:1], *((analyzed,) if analyzed else ())]
            due += [Ticked(wake_at(self._state))] if wake_at(self._state) <= until_ms else []
            ready = [event for event in due if event is analyzed or event.at_ms <= until_ms]
            if not ready:
                return
            event = analyzed if paused and analyzed else min(ready, key=lambda each: each.at_ms)
            if event is analyzed:
                analyzed = None
            elif isinstance(event, CallAnswered):
                self._answers.clear()
            if paused:
                event = replace(event, at_ms=max(event.at_ms, until_ms))
            self._state, effects = advance(self._state, event, self._limits)
            for effect in effects:
                if isinstance(effect, StartCall):
                    self._ask(effect, event.at_ms)

    def _ask(self, ask: StartCall, at_ms: int) -> None:
        """The API recognises the holder: every other person gets a low similarity."""
        self._calls += 1
        holder = self._shown == self._visit.holder
        answer = Comparison(95.0 if holder else 5.0, 80.0, "simulated")
        self._answers = [CallAnswered(at_ms + ANSWER_MS, ask.number, answer)]
        if self._calls == 1 and self._visit.other is not None:
            self._swap_ms = at_ms + 1


def _standing(name: str, place: dict[str, float]) -> Person:
    steps = (SceneStep.model_validate({"at_ms": at_ms, **place}) for at_ms in (0, 60_000))
    return Person(photo=name, path=tuple(steps))
