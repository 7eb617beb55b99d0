"""Runs native code with different contents of unwritten memory; prints the cases whose result changes.

A library that reads a buffer before it writes the buffer gives random results, and only rarely in a process
that has just started. OpenCV's detector did so for inputs with a side of at most 32 px. Here glibc fills each
new buffer with one byte, another one in each round. A program of its own: the settings of the allocator have
no way back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.compare.contract import ApiFailure
from agent.core.model import Box, Detection, Landmarks, Point, Quality
from agent.resources import data
from agent.service.image_decoder import decode
from agent.vision.cover import with_cover
from agent.vision.crop import crop_face
from agent.vision.detector import Detector
from agent.vision.embedding import Embedder, align
from agent.vision.face_turn import turned_crop
from agent.vision.quality import measure
from agent.vision.scaler import Scaler
from agent.vision.turn_relief import follow_points

Pixels = NDArray[np.uint8]
CONTROL = "control"  # a buffer that is never written: without a change, this program detects nothing
_FILLS = (0x00, 0x3F, 0xBF, 0x11, 0xEE)
_M_MMAP_MAX, _M_PERTURB = -4, -6  # malloc.h of glibc; a buffer of mmap is always zero
_SIDES_PX = (31, 32, 33, 34, 63, 64, 65, 96, 97, 320)  # below 33 px the detector must refuse
_DEG = 22.5


def _points(*numbers: float) -> Landmarks:
    return Landmarks(*(Point(x, y) for x, y in zip(numbers[0::2], numbers[1::2], strict=True)))


_FACE = Detection(
    Box(180, 60, 160, 200), _points(225, 140, 295, 140, 260, 180, 232, 215, 288, 215), confidence=0.9
)
_OUTSIDE = Detection(Box(-90, -70, 160, 200), _points(-45, 10, 25, 10, -10, 50, -38, 85, 18, 85), 0.9)


def _encoded(photo: Pixels) -> dict[str, bytes]:
    """Pictures of each format, whole and cut."""
    small = np.asarray(cv2.resize(photo, (97, 65)), np.uint8)
    files = {
        "jpeg": cv2.imencode(".jpg", small)[1].tobytes(),
        "progressive": cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        "png": cv2.imencode(".png", small)[1].tobytes(),
        "bmp": cv2.imencode(".bmp", small)[1].tobytes(),
    }
    end = {"jpeg": b"\xff\xd9", "progressive": b"\xff\xd9", "png": files["png"][-12:], "bmp": b""}
    return files | {f"{name}, cut": file[: len(file) // 2] + end[name] for name, file in files.items()}


def _decoded(file: bytes) -> bytes:
    try:
        return decode(file).tobytes()
    except ApiFailure as failure:
        return str(failure).encode()


def _cases() -> dict[str, Callable[[], bytes]]:
    photo = np.asarray(cv2.imread(str(data("photos/enrolled/obama_portrait.jpg"))), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    detector, embedder = Detector.load(confidence=0.3), Embedder()
    cases: dict[str, Callable[[], bytes]] = {CONTROL: lambda: np.empty(4_096, np.uint8).tobytes()}
    for width in _SIDES_PX:
        for height in (31, 33, 96, 320):
            part = noise[:height, :width]
            cases[f"detector {width} x {height}"] = lambda part=part: repr(  # type: ignore[misc]
                detector.second_network().detect(part)
            ).encode()
    for name, file in _encoded(photo).items():
        cases[name] = lambda file=file: _decoded(file)  # type: ignore[misc]
    face = align(photo, _FACE)
    shifted = np.roll(face, 2, axis=1)
    return cases | {
        "photograph": lambda: repr(detector.detect(photo, 320)).encode(),
        "embedding": lambda: np.asarray(embedder.describe(face)).tobytes(),
        "align": lambda: align(photo, _OUTSIDE).tobytes(),
        "turned": lambda: turned_crop(photo, _OUTSIDE, _DEG).tobytes(),
        "crop": lambda: crop_face(photo, _FACE, (_OUTSIDE,), margin=0.4, max_bytes=200_000).jpeg,
        "scaled": lambda: Scaler().scaled(photo, (97, 41)).tobytes(),
        "quality": lambda: repr(measure(photo, _FACE)).encode(),
        "cover": lambda: repr(with_cover(Quality(*[50.0] * 15), face)).encode(),
        "flow": lambda: b"".join(
            points.tobytes() for points, _ in follow_points([face, shifted, noise[:112, :112]])
        ),
    }


def main() -> None:
    """Print the names of the cases that have more than one result, one in a line."""
    cv2.setNumThreads(1)
    cases, mallopt = _cases(), ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)
    results: dict[str, set[bytes]] = {name: set() for name in cases}
    for fill in _FILLS:
        mallopt(_M_PERTURB, fill)
        for name, run in cases.items():
            results[name].add(run())
    mallopt(_M_PERTURB, 0)
    print("\n".join(name for name, found in results.items() if len(found) > 1))


if __name__ == "__main__":
    main()
