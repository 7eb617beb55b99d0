"""Actors in front of the camera during a challenge: a living payer, and the attacks that were tried.

Each actor gets the state of the verification and returns the next frame. ``verified`` plays one
verification with the real detector, the real embedding model and an injected clock. An actor that reads the
prompts knows them at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import cv2
import numpy as np

from agent.config import VisionConfig
from agent.core.challenge_phase import Phase
from agent.core.challenge_plan import Plan
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.core.reasons import Guidance, Reason
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
    CallFailed,
    Challenging,
    Comparing,
    Event,
    Finished,
    FrameAnalyzed,
    Limits,
    StartCall,
    State,
    Ticked,
)
from agent.errors import AgentError
from agent.terminal.verification_runner import reason_of
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.shot_checks import LivenessModel
from tests.vision.people import Pixels
from tests.vision.surfaces import EYES_MM, FOCAL_PX, WIDE, Pose, Print, bent, flat, noisy, printed, solid

FRAME_MS, BUDGET_MS = 100, 8_000
# The turn of each head: far enough for the challenge, and no farther than the model of the head holds.
DEGREES = {"obama_portrait": 48.0, "obama_podium": 48.0, "biden_portrait": 38.0, "collins_portrait": 46.0}

Show = Callable[[State, int], Pixels]  # the state and the capture time in ms to the frame


@dataclass(frozen=True, slots=True)
class End:
    """``called``: an API call with the victim's face was due, so the attack has passed."""

    called: bool
    reason: Reason
    took_ms: int


def analyzer(models: Sequence[LivenessModel] = (), *, shading: bool = False) -> LocalFaceAnalyzer:
    return LocalFaceAnalyzer(
        VisionConfig(), PolicyLimits(), liveness_models=models, challenge=True, shading=shading
    )


def verified(
    eye: LocalFaceAnalyzer,
    plans: tuple[Plan, ...],
    show: Show,
    *,
    frame_ms: int = FRAME_MS,
    budget_ms: int = BUDGET_MS,
    identity: bool = True,
) -> End:
    """One verification. The crop, which compares the faces of the challenge, is made as on a terminal."""
    limits = replace(Limits(), turns=len(plans[0]), plans=plans)
    state: State = begin(budget_ms)
    at_ms = 0
    eye.begin(0)
    while not isinstance(state, Finished):
        at_ms += frame_ms
        events: list[Event] = []
        while not isinstance(state, Finished) and wake_at(state) <= at_ms and not events:
            state, events = _step(eye, state, Ticked(wake_at(state)), limits, identity)
        if not events and not isinstance(state, Finished):
            pixels = show(state, at_ms)
            analysis = eye.analyze(Frame(pixels, at_ms, at_ms, pixels.shape[1], pixels.shape[0]))
            state, events = _step(eye, state, FrameAnalyzed(at_ms, analysis), limits, identity)
        for event in events:
            if not isinstance(event, CallFailed):
                return End(_shows_victim(show, state), Reason.DIFFERENT_PERSON, at_ms)
            state, _ = advance(state, event, limits)
    return End(False, state.reason, at_ms)


def _shows_victim(show: Show, state: State) -> bool:
    """Whether the face of the call is that of the attack's victim. A call with another face is no match."""
    shot = state.best if isinstance(state, Comparing) else None
    return not isinstance(show, Swap) or (shot is not None and shot.frame.captured_ms in show.victim_ms)


def _step(
    eye: LocalFaceAnalyzer, state: State, event: Event, limits: Limits, identity: bool
) -> tuple[State, list[Event]]:
    """The next state; with a due API call, its failure before the call, or the event itself."""
    state, effects = advance(state, event, limits)
    for effect in effects:
        if isinstance(effect, StartCall):
            try:
                eye.crop(effect.shot if identity else replace(effect.shot, evidence=()))
            except AgentError as error:
                return state, [CallFailed(event.at_ms, effect.number, reason_of(error), error.retry)]
            return state, [event]
    return state, []


def prompted(state: State) -> float:
    """1 for a prompted turn to the payer's left, -1 to the right, 0 otherwise."""
    if not isinstance(state, Challenging):
        return 0.0
    return {Guidance.TURN_LEFT: 1.0, Guidance.TURN_RIGHT: -1.0}.get(state.progress.prompt, 0.0)


@dataclass
class Hand:
    """Moves to the prompted yaw as a hand does: a part of the way in each frame."""

    degrees: float
    rate: float = 0.5  # of the way, in each frame
    yaw: float = 0.0

    def follow(self, state: State) -> float:
        self.yaw += self.rate * (prompted(state) * self.degrees - self.yaw)
        return self.yaw


@dataclass
class Payer:
    """A living payer: reacts after some time, turns smoothly, sways. ``turn_ms``: for one way."""

    picture: Print
    dice: Random
    degrees: float
    turn_ms: float
    distance_mm: float
    moves: list[tuple[float, float, float]] = field(default_factory=lambda: [(-1e6, 0.0, 0.0)])

    def __post_init__(self) -> None:
        self.phase = self.dice.uniform(0, 6)

    def yaw(self, state: State, at_ms: int) -> float:
        aim = self.moves[-1][2]
        wanted = prompted(state) * self.degrees
        if wanted != aim:
            self.moves.append((at_ms + self.dice.uniform(220, 400), self._at(at_ms), wanted))
        return self._at(at_ms)

    def _at(self, at_ms: float) -> float:
        """Minimum jerk from pose to pose."""
        began_ms, origin, aim = self.moves[-1]
        if at_ms < began_ms:
            return origin
        share = min(1.0, (at_ms - began_ms) / self.turn_ms)
        return origin + (aim - origin) * (10 * share**3 - 15 * share**4 + 6 * share**5)

    def pose(self, state: State, at_ms: int) -> Pose:
        sway = 3.0 * math.sin(at_ms / 700.0 + self.phase)
        nod = 1.5 * math.sin(at_ms / 530.0 + self.phase)
        return Pose(self.yaw(state, at_ms) + 0.5 * sway, nod, nod / 2, self.distance_mm, sway)

    def __call__(self, state: State, at_ms: int) -> Pixels:
        return noisy(solid(self.picture, self.pose(state, at_ms)), self.dice)


def flat_print(name: str, dice: Random, roll: float = 0.0, pitch: float = 0.0) -> Show:
    """A print that is turned as prompted, by 20 to 55 degrees, shaking a little."""
    picture, hand = printed(name), Hand(dice.uniform(20, 55))
    distance_mm = dice.uniform(380, 520)

    def show(state: State, _at_ms: int) -> Pixels:
        shake = [dice.gauss(0, 1.0) for _ in range(3)]
        pose = Pose(hand.follow(state) + shake[0], pitch + shake[1], roll + shake[2], distance_mm)
        return noisy(flat(picture, pose), dice)

    return show


def bent_print(name: str, dice: Random, tilt: float = 0.0) -> Show:
    """A print around a tube of 12 to 18 cm, which turns about its axis as prompted, by 45 to 55 degrees.

    ``tilt``: the axis is rolled and tilted by up to this angle, degrees.
    """
    picture, hand = printed(name), Hand(dice.uniform(45, 55), dice.uniform(0.2, 0.5))
    radius_mm = dice.uniform(60, 90)
    distance_mm = dice.uniform(400, 540)
    pitch, roll = (dice.uniform(-tilt, tilt) for _ in range(2)) if tilt else (0.0, 0.0)

    def show(state: State, _at_ms: int) -> Pixels:
        pose = Pose(hand.follow(state) + dice.gauss(0, 0.7), pitch + dice.gauss(0, 0.7), roll, distance_mm)
        return noisy(bent(picture, pose, radius_mm), dice)

    return show


def level_print(name: str, dice: Random) -> Show:
    """A print around a level tube of 7 to 14 cm, which turns about an upright line by 45 to 62 degrees.

    The nose is in front of the forehead and the mouth, as on a head.
    """
    picture, hand = lying(name), Hand(dice.uniform(45, 62), dice.uniform(0.2, 0.5))
    radius_mm, distance_mm = dice.uniform(35, 70), dice.uniform(400, 540)

    def show(state: State, _at_ms: int) -> Pixels:
        pitch = hand.follow(state) + dice.gauss(0, 0.7)  # the roll makes it a turn to the side
        return noisy(bent(picture, Pose(pitch=pitch, roll=90.0, distance_mm=distance_mm), radius_mm), dice)

    return show


def lying(name: str) -> Print:
    """The photograph, turned by 90 degrees against a roll of 90 degrees."""
    upright = printed(name)
    turned = np.asarray(cv2.rotate(upright.pixels, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8)
    x_px, y_px = upright.centre_px
    return Print(turned, upright.mm_per_px, (y_px, upright.pixels.shape[1] - 1 - x_px))


def stills_by_key(victim: str, other: str, dice: Random, fade_ms: int = 0) -> Show:
    """Three stills on a screen: ``victim`` straight, ``other`` turned, and its mirror image.

    ``fade_ms``: each still fades into the next one.
    """
    distance_mm, x_mm = dice.uniform(420, 560), dice.uniform(-3, 3)
    left = solid(printed(other), Pose(DEGREES[other], distance_mm=distance_mm))
    straight = solid(printed(victim), Pose(distance_mm=distance_mm, x_mm=x_mm))
    stills = {0.0: straight, 1.0: left, -1.0: np.ascontiguousarray(left[:, ::-1])}
    shown, last, since_ms = straight, straight, 0

    def show(state: State, at_ms: int) -> Pixels:
        nonlocal shown, last, since_ms
        if stills[prompted(state)] is not shown:
            last, shown, since_ms = shown, stills[prompted(state)], at_ms
        share = min(1.0, (at_ms - since_ms + FRAME_MS) / fade_ms) if fade_ms else 1.0
        mixed = cv2.addWeighted(shown, share, last, 1 - share, 0)
        return noisy(mixed.astype(np.uint8, copy=False), dice)

    return show


@dataclass
class Swap:
    """An accomplice turns as prompted; a still photo of the victim takes the place for the last look."""

    victim: Print
    accomplice: Payer
    is_swapped: bool = False
    victim_ms: set[int] = field(default_factory=set)  # capture times of the frames with the victim

    def __call__(self, state: State, at_ms: int) -> Pixels:
        pose = self.accomplice.pose(state, at_ms)
        if isinstance(state, Challenging):
            progress = state.progress
            is_last = progress.turn + 1 == len(progress.plan) and progress.phase is Phase.RETURNING
            self.is_swapped = is_last and abs(pose.yaw) < 20
        picture = self.accomplice.picture
        if self.is_swapped:
            self.victim_ms.add(at_ms)
            picture, pose = self.victim, replace(pose, yaw=0.0)
        return noisy(solid(picture, pose), self.accomplice.dice)


def swap(victim: str, accomplice: str, dice: Random) -> Show:
    return Swap(printed(victim), payer_of(accomplice, dice))


def payer_of(name: str, dice: Random, fastest_ms: float = 500, slowest_ms: float = 900) -> Payer:
    """A living payer; ``fastest_ms`` to ``slowest_ms``: the time for a turn, one way."""
    turn_ms, distance_mm = dice.uniform(fastest_ms, slowest_ms), dice.uniform(440, 540)
    return Payer(printed(name), dice, DEGREES[name], turn_ms, distance_mm)


def mesh_driven(name: str, dice: Random) -> Show:
    """One photograph on a model of a head that follows the prompts: the same as a living payer here."""
    return payer_of(name, dice)


def lit_mesh(name: str, dice: Random, fall: float = 0.2) -> Show:
    """The same, and the program darkens the side that turns away.

    ``fall``: of the logarithm of the brightness, for each eye distance, at 90 degrees.
    """
    payer = payer_of(name, dice)
    across = (np.arange(WIDE) - WIDE / 2) * payer.distance_mm / (FOCAL_PX * EYES_MM)

    def show(state: State, at_ms: int) -> Pixels:
        pose = payer.pose(state, at_ms)
        light = np.exp(np.clip(-fall * math.sin(math.radians(pose.yaw)) * across, -1.2, 1.2))
        lit = solid(payer.picture, pose) * light[None, :, None]
        return noisy(np.clip(lit, 0, 255).astype(np.uint8), dice)

    return show


def blind_loop(name: str, dice: Random) -> Show:
    """A film of a head that turns left and right in a loop, without knowledge of the prompts."""
    picture, degrees, distance_mm = printed(name), DEGREES[name], dice.uniform(440, 540)
    period_ms, phase = dice.uniform(2_500, 5_000), dice.uniform(0, 6)

    def show(_state: State, at_ms: int) -> Pixels:
        wave = math.sin(2 * math.pi * at_ms / period_ms + phase)
        yaw = degrees * max(-1.0, min(1.0, 2.5 * max(0.0, abs(wave) - 0.6) / 0.9)) * math.copysign(1, wave)
        sway = 2.0 * math.sin(at_ms / 700.0)
        return noisy(solid(picture, Pose(yaw, distance_mm=distance_mm, x_mm=sway)), dice)

    return show


def poster(name: str, dice: Random) -> Show:
    """A print that does not move at all: only the sensor noise changes."""
    picture = flat(printed(name), Pose(dice.uniform(-8, 8), distance_mm=dice.uniform(400, 520)))
    sigma = float(dice.choice((2, 4, 6, 8)))
    return lambda _state, _at_ms: noisy(picture, dice, sigma)
