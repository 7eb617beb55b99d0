"""The local eye: time per 1280×720 frame, and what it finds on the shipped photographs and their variants."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

from agent.camera.stage import Pixels
from agent.config import PolicyConfig, VisionConfig
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.resources import data
from agent.vision.detector import Detector
from agent.vision.eye import LocalEye
from tests.bench.frames import HEIGHT_PX, WIDTH_PX, drawn, frame
from tests.bench.report import Row, Section, spread

PEOPLE = ("obama_portrait", "obama_podium", "biden_portrait", "collins_portrait")
REPETITIONS = 3


def _rolled(picture: Pixels, degrees: float) -> Pixels:
    high, wide = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(picture, turn, (wide, high), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _scaled(picture: Pixels, gain: float) -> Pixels:
    return np.asarray(np.clip(picture * gain, 0, 255), np.uint8)


def _backlit(picture: Pixels) -> Pixels:
    """Dark in the middle, blown out at the edges."""
    high, wide = picture.shape[:2]
    down, across = np.linspace(-1, 1, high)[:, None], np.linspace(-1, 1, wide)[None, :]
    edge = np.clip(down**2 + across**2, 0, 1)[:, :, None]
    return np.asarray(np.clip(picture * (0.35 + 1.65 * edge), 0, 255), np.uint8)


def _smaller(picture: Pixels) -> Pixels:
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    frame_ = np.full_like(picture, 96)
    frame_[: small.shape[0], : small.shape[1]] = small
    return frame_


VARIANTS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda p: p,
    "dark (x 0.35)": lambda p: _scaled(p, 0.35),
    "bright (x 1.5)": lambda p: _scaled(p, 1.5),
    "backlit (middle x 0.35, edges x 2)": _backlit,
    "blurred (sigma 2 px)": lambda p: np.asarray(cv2.GaussianBlur(p, (0, 0), 2), np.uint8),
    "rolled +25 degrees": lambda p: _rolled(p, 25),
    "rolled -25 degrees": lambda p: _rolled(p, -25),
    "half size": _smaller,
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
}


def _photos() -> list[Pixels]:
    read = [cv2.imread(str(data(f"photos/{name}.jpg"))) for name in PEOPLE]
    return [np.asarray(picture, np.uint8) for picture in read if picture is not None]


def _empty_pictures(count: int) -> list[Pixels]:
    """Pictures without a face: noise, gradients, stripes and scenes with nobody."""
    chance = np.random.default_rng(7)
    noise = [chance.integers(0, 255, (HEIGHT_PX, WIDTH_PX, 3), np.uint8) for _ in range(count // 4)]
    ramp = np.broadcast_to(
        np.linspace(0, 255, WIDTH_PX, dtype=np.uint8)[None, :, None], (HEIGHT_PX, WIDTH_PX, 3)
    )
    stripes = [_rolled(np.ascontiguousarray(ramp), angle) for angle in np.linspace(0, 90, count // 4)]
    return [*noise, *stripes, *drawn("nobody", count=count // 2)]


def _times(work: Callable[[int], object], count: int) -> list[float]:
    spent = []
    for number in range(count):
        began = time.perf_counter()
        work(number)
        spent.append((time.perf_counter() - began) * 1e3)
    return spent


def run(*, quick: bool) -> Section:
    section = Section("the local eye, 1280x720, one thread (ms)")
    pictures = drawn("one_obama_portrait", count=10)
    detector = Detector.load()
    eye = LocalEye(VisionConfig(), PolicyLimits(**PolicyConfig().model_dump()))
    count = 20 if quick else 200
    for repetition in range(1 if quick else REPETITIONS):
        detected = _times(lambda n: detector.detect(pictures[n % 10]), count)
        eye.begin(0)
        looked = _times(lambda n: eye.look(frame(pictures[n % 10], n + 1, 100 * n)), count)
        section.rows.append({"what": f"detect, run {repetition + 1}", **spread(detected, 2)})
        section.rows.append(
            {"what": f"look (detect + quality + gates), run {repetition + 1}", **spread(looked, 2)}
        )
    section.rows += _recall(detector)
    empty = _empty_pictures(8 if quick else 80)
    wrong = sum(bool(detector.detect(picture)) for picture in empty)
    section.rows.append({"what": "faces found where none is", "found": wrong, "n": len(empty)})
    eye.begin(0)
    shots = sum(
        eye.look(frame(picture, n + 1, 400 * n)).reason is FrameReason.SHOT for n, picture in enumerate(empty)
    )
    section.rows.append({"what": "shots taken where nobody is", "found": shots, "n": len(empty)})
    section.notes.append(
        "four photographs and their variants: it shows that it works, it calibrates nothing finer"
    )
    return section


def _recall(detector: Detector) -> list[Row]:
    photos = _photos()
    return [
        {
            "what": f"photos, {name}",
            "found": sum(bool(detector.detect(change(p))) for p in photos),
            "n": len(photos),
        }
        for name, change in VARIANTS.items()
    ]
