"""Covered faces: ``python -m tests.bench.covers`` prints how many faces are taken for covered.

Uncovered: each fifth frame of the films, and all photographs of the benchmark, each with changes of light and
sharpness. Covered: drawn covers on the photographs and on frames of the films. Counted are faces that pass
all other limits; the film frames are as in ``filmed_heads``, each photograph is scaled to a face of 160 px.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from agent.core.judgement import judge
from agent.core.model import Detection
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.vision.cover import judge_cover
from agent.vision.embedding import align
from agent.vision.passive.error_rates import clopper_pearson
from agent.vision.quality import measure
from tests.bench.filmed_heads import FILMS, frames_of
from tests.bench.photos import Pixels, download, faces, read
from tests.vision.covers import COVERS
from tests.vision.people import detector

LIMITS = PolicyLimits()
FACE_PX = 160
FRAMES = 5  # between two frames of a film
COVERED_FRAMES = 60  # frames of a film between two frames that get covers

Picture = tuple[Pixels, Detection]


def _brighter(power: float) -> Callable[[Pixels], Pixels]:
    return lambda bgr: (255 * (bgr / 255.0) ** power).astype(np.uint8)


def _blurred(sigma_px: float) -> Callable[[Pixels], Pixels]:
    return lambda bgr: cv2.GaussianBlur(bgr, (0, 0), sigma_px).astype(np.uint8, copy=False)


def _noisy(bgr: Pixels) -> Pixels:
    return np.clip(bgr + np.random.default_rng(1).normal(0, 6, bgr.shape), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "blur of 1 px": _blurred(1.0),
    "blur of 1.5 px": _blurred(1.5),
    "blur of 2 px": _blurred(2.0),
    "gamma 1.8, darker": _brighter(1.8),
    "gamma 0.55, brighter": _brighter(0.55),
    "noise of 6 levels": _noisy,
}


def found_in(bgr: Pixels, near: Detection | None = None) -> Detection | None:
    """The largest face, or the face next to the middle of ``near``."""
    found = detector().detect(bgr)
    if near is None:
        return max(found, key=lambda face: face.box.area_px, default=None)
    x_px, y_px = near.box.centre.x_px, near.box.centre.y_px
    return min(
        found,
        key=lambda face: abs(face.box.centre.x_px - x_px) + abs(face.box.centre.y_px - y_px),
        default=None,
    )


def photographs() -> Iterator[tuple[str, Picture]]:
    for file in sorted({face.file for face in faces()}):
        whole = read(file)
        scale = min(1.0, 1600 / max(whole.shape))
        small = np.asarray(
            cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
        for found in detector().detect(small):
            if found.box.height_px > 60:
                picture = _cut(small, found)
                if picture is not None:
                    yield file.name, picture


def _cut(bgr: Pixels, face: Detection) -> Picture | None:
    """The face with its surroundings, at ``FACE_PX``."""
    box = face.box
    left, top = max(0, int(box.x_px - box.width_px)), max(0, int(box.y_px - 0.8 * box.height_px))
    part = bgr[top : int(box.y_px + 2 * box.height_px), left : int(box.x_px + 2 * box.width_px)]
    scale = FACE_PX / box.height_px
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=way), np.uint8)
    found = detector().detect(scaled)
    x_px, y_px = (box.centre.x_px - left) * scale, (box.centre.y_px - top) * scale
    near = [f for f in found if abs(f.box.centre.x_px - x_px) + abs(f.box.centre.y_px - y_px) < FACE_PX / 2]
    return (scaled, near[0]) if near else None


class Table:
    def __init__(self) -> None:
        self.faces, self.covered = Counter[str](), Counter[str]()

    def add(self, title: str, bgr: Pixels, near: Detection | None = None) -> None:
        face = found_in(bgr, near)
        if face is None:
            return
        high, wide = bgr.shape[:2]
        judgement = judge((face,), wide, high, LIMITS, lambda each: measure(bgr, each))
        if judgement.reason is FrameReason.SHOT:
            self.faces[title] += 1
            reason = judge_cover(judgement, align(bgr, face), LIMITS).reason
            self.covered[title] += reason is FrameReason.COVERED

    def rows(self) -> Iterator[str]:
        for title, count in self.faces.items():
            low, high = clopper_pearson(self.covered[title], count)
            yield f"| {title} | {count} | {self.covered[title]} [{100 * low:.1f}–{100 * high:.1f} %] |"


def _add_film(table: Table, title: str, frames: Iterator[Pixels]) -> None:
    for number, bgr in enumerate(frames):
        if number % FRAMES == 0:
            table.add(title, bgr)
        if number % COVERED_FRAMES == 0:
            face = found_in(bgr)
            picture = None if face is None else _cut(bgr, face)
            if picture is not None:
                _add_changed(table, picture)


def _add_changed(table: Table, picture: Picture) -> None:
    bgr, face = picture
    for title, change in CHANGES.items():
        table.add(f"uncovered, {title}", change(bgr), face)
    for title, cover in COVERS.items():
        table.add(title, cover(bgr, face), face)


def main() -> int:
    folder, error = download(FILMS)
    if folder is None:
        print(f"not measured: the films are not available here: {error}")
        return 1
    table = Table()
    for name in FILMS.files:
        _add_film(table, f"uncovered, `{name.removesuffix('.mp4')}`", frames_of(folder / name))
    for _, picture in photographs():
        table.add("uncovered, photographs", *picture)
        _add_changed(table, picture)
    print("| face | n | taken for covered |\n|---|---|---|")
    print("\n".join(table.rows()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
