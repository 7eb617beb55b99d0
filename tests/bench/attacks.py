"""Attacks on the challenge: ``python -m tests.bench.attacks [N] [title] [--passive STATE_DIR] [--shading]``.

Prints one table for docs/explanation/seeing.md: N verifications for each attack (60 by default), each with
another seed. Passed: an API call with the face of the attack was due. The interval is that of Clopper and
Pearson, 95 %. The last rows are living payers: the share that passes must be high. With ``--passive``
(the model that was imported below STATE_DIR) and ``--shading``, these checks are added, and none is switched
off.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from agent.core import challenge, head_move, motion, rest_pose
from agent.core.challenge_plan import draw
from agent.vision import face_identity, shot_checks, stillness
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.passive.error_rates import clopper_pearson
from agent.vision.passive.passive_liveness import PassiveLiveness
from tests.vision import attacks
from tests.vision.attacks import End, Show, analyzer, verified
from tests.vision.people import NAMES

TURNS = 2
OTHERS = {"obama_portrait": "biden_portrait", "obama_podium": "collins_portrait"}

Make = Callable[[str, Random], Show]


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of actor. ``without``: the defences that are switched off, one after the other."""

    make: Make
    without: tuple[str, ...] = ()
    frame_ms: int = attacks.FRAME_MS
    is_living: bool = False


def other_than(name: str) -> str:
    return OTHERS.get(name, "obama_portrait")


ATTACKS: dict[str, Line] = {
    "flat print, turned to 20–55°": Line(attacks.flat_print, ("depth",)),
    "flat print, rolled 12° and tilted 10°": Line(
        lambda name, random: attacks.flat_print(name, random, 12, 10), ("depth",)
    ),
    "print around a tube, turned to 45–55°": Line(attacks.bent_print, ("columns", "relief", "motion")),
    "three stills by key, another person turned": Line(
        lambda name, random: attacks.stills_by_key(name, other_than(name), random), ("motion", "identity")
    ),
    "three stills by key, faded in 0.4 s": Line(
        lambda name, random: attacks.stills_by_key(name, name, random, fade_ms=400), ("motion", "identity")
    ),
    "swap: an accomplice turns, a photo looks straight": Line(
        lambda name, random: attacks.swap(name, other_than(name), random), ("motion", "identity")
    ),
    "print around a tilted tube, turned to 45–55°": Line(
        lambda name, random: attacks.bent_print(name, random, tilt=15), ("columns",)
    ),
    "print around a level tube, turned to 45–62°": Line(attacks.level_print, ("columns", "depth")),
    "one photograph on a mesh, follows the prompts": Line(attacks.mesh_driven, ("motion",)),
    "one photograph on a mesh, the light is drawn, too": Line(attacks.lit_mesh),
    "film of turns in a loop": Line(attacks.blind_loop, ("reaction", "motion")),
    "poster": Line(attacks.poster, ("stillness",)),
}
LIVING: dict[str, Line] = {
    f"living payer, {rate}, a turn of {least / 1e3:.1f}–{most / 1e3:.1f} s": Line(
        lambda name, random, least=least, most=most: attacks.payer_of(name, random, least, most),  # type: ignore[misc]
        frame_ms=frame_ms,
        is_living=True,
    )
    for rate, frame_ms, least, most in (
        ("10 frames/s", 100, 600, 900),
        ("5 frames/s", 200, 600, 900),
        ("5 frames/s", 200, 1_000, 1_500),
        ("3 frames/s", 333, 1_000, 1_500),
        ("2 frames/s", 500, 1_500, 2_000),
    )
}

_ANYTHING: Any = lambda *_: True  # noqa: E731 - replaces a function in a patch
DEFENCES: dict[str, tuple[tuple[object, str, object], ...]] = {
    "motion": ((motion, "MAX_STEP", inf),),
    "identity": ((face_identity, "_appear_same", _ANYTHING),),  # and the comparison before the call
    "depth": (
        (head_move, "MIN_DEPTH", -inf),
        (head_move, "FLAT_DEPTH", -1.0),
        (head_move, "MIN_RELIEF", 0.0),
    ),
    "relief": ((head_move, "MIN_RELIEF", 0.0),),
    "columns": ((shot_checks, "has_relief", _ANYTHING),),
    "reaction": ((challenge, "REACTION_MS", 0),),
    "stillness": ((stillness, "STILL_MS", 10**9),),
}
# the rules of version 0.1.0: no rule of motion, no comparison before the call, no stillness
EARLIER = (
    *DEFENCES["motion"],
    *DEFENCES["stillness"],
    *DEFENCES["columns"],
    (challenge, "REACTION_MS", 150),
    (challenge, "SHOT_MS", 2_500),
    (rest_pose, "MAX_REST", inf),
    (head_move, "MIN_RELIEF", 0.0),
)


@contextmanager
def switched_off(patches: tuple[tuple[object, str, object], ...]) -> Iterator[None]:
    if not patches:
        yield
        return
    with patch.object(*patches[0]), switched_off(patches[1:]):
        yield


def play(
    line: Line,
    count: int,
    patches: tuple[Any, ...] = (),
    *,
    identity: bool = True,
    eye: LocalFaceAnalyzer | None = None,
) -> list[End]:
    """``count`` verifications, the same seeds for each set of defences."""
    eye, ends = eye or analyzer(), list[End]()
    with switched_off(patches):
        for seed in range(count):
            random, name = Random(seed), NAMES[seed % len(NAMES)]
            plans = draw(TURNS, random.randrange)
            show = line.make(name, random)
            ends.append(verified(eye, plans, show, frame_ms=line.frame_ms, identity=identity))
    return ends


def cell(ends: list[End]) -> str:
    passed = sum(end.called for end in ends)
    low, high = clopper_pearson(passed, len(ends))
    return f"{passed} of {len(ends)} [{100 * low:.0f}–{100 * high:.0f} %]"


def row(title: str, line: Line, count: int, eye: LocalFaceAnalyzer | None) -> str:
    ends = play(line, count, eye=eye)
    others = Counter(end.reason.value for end in ends if not end.called)
    how = ", ".join(f"`{reason}` {number}" for reason, number in others.most_common()) or "–"
    if line.is_living or eye:
        times = sorted(end.took_ms for end in ends if end.called)
        how += f"; p50 {times[len(times) // 2] / 1e3:.1f} s" if times else ""
        return f"| {title} | {cell(ends)} | {how} |"
    single = []
    for name in line.without:
        without = play(line, count, DEFENCES[name], identity=name != "identity")
        single.append(f"without {name} {cell(without)}")
    earlier = play(line, count, EARLIER, identity=False)
    return f"| {title} | {cell(earlier)} | {cell(ends)} | {'; '.join([*single, how])} |"


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.bench.attacks")
    options.add_argument("count", type=int, nargs="?", default=60)
    options.add_argument("title", nargs="*", help="a part of the title of an attack")
    options.add_argument("--passive", type=Path, metavar="STATE_DIR")
    options.add_argument("--shading", action="store_true")
    given = options.parse_args()
    models = (PassiveLiveness(given.passive),) if given.passive else ()
    eye = analyzer(models, shading=given.shading) if models or given.shading else None
    for title, line in (ATTACKS | LIVING).items():
        if " ".join(given.title) in title:
            print(row(title, line, given.count, eye), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
