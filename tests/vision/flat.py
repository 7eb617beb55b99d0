"""Attack: a photo in front of the camera that is turned as the prompts ask, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.config import VisionConfig
from agent.core.challenge import Plan, draw
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.core.reasons import Guidance, Reason
from agent.core.steps import Challenging, Finished, FrameAnalyzed, Limits, StartCall, State, Ticked
from agent.core.verification import advance, begin, wake_at
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.vision.people import Pixels, photo

FRAME_MS = 100
FOCAL_PX = 900.0
WALL = (90, 100, 95)
WIDE, HIGH = 1280, 720


@dataclass(frozen=True)
class Hand:
    """The position of the photo. Degrees and millimetres; ``shake`` is a random change in every frame."""

    turn: float  # for each prompted turn
    roll: float = 0.0
    pitch: float = 0.0
    distance_mm: float = 450.0
    shake: float = 0.0
    bend: float = 0.0  # 0: flat; 1: rolled to half a tube, its axis upright


def held(picture: Pixels, yaw: float, hand: Hand, dice: Random) -> Pixels:
    """A 1280×720 frame of the picture, 360 mm along its long side, turned in front of a pinhole camera."""
    shake = [dice.gauss(0, hand.shake) for _ in range(3)]
    bent = _bent(picture, hand.bend, yaw) if hand.bend else picture
    high, wide = bent.shape[:2]
    mm = 360.0 / max(high, wide)
    corners = np.array([[-wide, -high, 0], [wide, -high, 0], [wide, high, 0], [-wide, high, 0]]) * mm / 2
    turned = corners @ _rotation(yaw + shake[0], hand.pitch + shake[1], hand.roll + shake[2]).T
    depth = hand.distance_mm - turned[:, 2]
    projected = np.c_[WIDE / 2 + FOCAL_PX * turned[:, 0] / depth, HIGH / 2 + FOCAL_PX * turned[:, 1] / depth]
    flat = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    warp = cv2.getPerspectiveTransform(flat, projected.astype(np.float32))
    frame = cv2.warpPerspective(np.ascontiguousarray(bent), warp, (WIDE, HIGH), borderValue=WALL)
    noise = np.roll(_noise(), dice.randrange(HIGH), axis=0)
    return cv2.add(frame, noise, dtype=cv2.CV_8U).astype(np.uint8, copy=False)


@cache
def _noise() -> NDArray[np.int16]:
    return np.random.default_rng(1).normal(0, 2, (HIGH, WIDE, 3)).astype(np.int16)


def _bent(picture: Pixels, bend: float, yaw: float) -> Pixels:
    """The picture on a tube: columns are narrower towards the edge that turns away."""
    high, wide = picture.shape[:2]
    half = bend * math.pi / 2
    across = np.linspace(-math.sin(half), math.sin(half), wide)
    turn = math.radians(yaw) * bend
    columns = (np.arcsin(np.clip(across, -1, 1)) + turn) / (2 * half) + 0.5
    map_x = np.tile((columns * (wide - 1)).astype(np.float32), (high, 1))
    map_y = np.tile(np.arange(high, dtype=np.float32)[:, None], (1, wide))
    return cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderValue=WALL).astype(np.uint8, copy=False)


def _rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    turns = [(pitch, (1, 0, 0)), (yaw, (0, 1, 0)), (roll, (0, 0, 1))]
    matrix: NDArray[np.float64] = np.eye(3)
    for degrees, axis in turns:
        matrix = matrix @ cv2.Rodrigues(np.array(axis, float) * math.radians(degrees))[0]
    return matrix


def attack(
    analyzer: LocalFaceAnalyzer, name: str, hand: Hand, seed: int, turns: int = 2
) -> tuple[bool, Reason]:
    """One complete verification with the photo: (whether the challenge was passed, the reason)."""
    dice, yaw = Random(seed), 0.0

    def show(state: State) -> Pixels:
        nonlocal yaw
        yaw += 0.5 * (_wanted(state, hand) - yaw)  # a hand needs some tenths of a second
        return held(photo(name), yaw, hand, dice)

    return verified(analyzer, draw(turns, dice.randrange), show)


def verified(
    analyzer: LocalFaceAnalyzer, plans: tuple[Plan, ...], show: Callable[[State], Pixels]
) -> tuple[bool, Reason]:
    """One verification at ten frames/s with the pictures of ``show``: (whether it passed, the reason).

    A challenge that is passed too late for an API call counts as passed.
    """
    limits = replace(Limits(), turns=len(plans[0]), plans=plans)
    state: State = begin(8_000)
    at_ms, called = 0, False
    analyzer.begin(0)
    while not isinstance(state, Finished):
        at_ms += FRAME_MS
        while not isinstance(state, Finished) and wake_at(state) <= at_ms:
            state, effects = advance(state, Ticked(wake_at(state)), limits)
            called |= any(isinstance(effect, StartCall) for effect in effects)
        if isinstance(state, Finished):
            break
        analysis = analyzer.analyze(Frame(show(state), at_ms, at_ms, WIDE, HIGH))
        state, effects = advance(state, FrameAnalyzed(at_ms, analysis), limits)
        called |= any(isinstance(effect, StartCall) for effect in effects)
        if called:
            return True, Reason.TIMED_OUT
    return state.liveness.passed, state.reason


def _wanted(state: State, hand: Hand) -> float:
    if not isinstance(state, Challenging):
        return 0.0
    sides = {Guidance.TURN_LEFT: hand.turn, Guidance.TURN_RIGHT: -hand.turn}
    return sides.get(state.progress.prompt, 0.0)


def analyzer() -> LocalFaceAnalyzer:
    return LocalFaceAnalyzer(VisionConfig(), PolicyLimits())
