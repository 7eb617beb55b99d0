"""The imported passive model on films and on simulated prints: ``python -m tests.bench.passive STATE_DIR``.

STATE_DIR contains the networks that ``facepay liveness import`` wrote. Films are downloaded from a package
and never shipped. The simulated prints have no texture of paper or screen.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random

from agent.vision.passive.error_rates import Rate
from agent.vision.passive.passive_liveness import PassiveLiveness
from tests.bench.filmed_heads import FILMS, frames_of
from tests.bench.photos import Pixels, download
from tests.vision.people import NAMES, detector
from tests.vision.surfaces import Pose, bent, flat, noisy, printed, solid

EVERY = 5  # of the frames of a film
COUNT = 60


def accepted(model: PassiveLiveness, pictures: Iterable[Pixels]) -> Rate:
    """The share of the pictures with a face that the model accepts."""
    answers = []
    for picture in pictures:
        faces = detector().detect(picture)
        if faces:
            answers.append(model.is_live(picture, max(faces, key=lambda face: face.box.area_px)))
    return Rate(sum(answers), len(answers))


def simulated(kind: str) -> Iterable[Pixels]:
    for seed in range(COUNT):
        random, picture = Random(seed), printed(NAMES[seed % len(NAMES)])
        pose = Pose(random.uniform(-8, 8), distance_mm=random.uniform(400, 520))
        match kind:
            case "flat print":
                frame = flat(picture, pose)
            case "print around a tube":
                frame = bent(picture, pose, random.uniform(60, 90))
            case _:
                frame = solid(picture, pose)
        yield noisy(frame, random)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    model = PassiveLiveness(Path(sys.argv[1]))
    folder, error = download(FILMS)
    if folder is None:
        print(f"films: not measured: {error}")
    else:
        for name in FILMS.files:
            frames = (frame for number, frame in enumerate(frames_of(folder / name)) if not number % EVERY)
            print(f"living, {name}: accepted {accepted(model, frames)}", flush=True)
    for kind in ("flat print", "print around a tube", "photograph on a mesh"):
        print(f"simulation, {kind}: accepted {accepted(model, simulated(kind))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
