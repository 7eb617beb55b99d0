"""Slow cameras, pauses and swaps: the same person must stay recognized, another person must end the visit.

``python -m tests.bench.pauses [N]``: N visits for each line, 60 by default, through the real models.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import permutations
from random import Random

from agent.camera.simulated.renderer import SpriteCache
from tests.vision.pauses import End, Playback, Visit, new_eye

PERIODS_MS = {"1 fps": 1_000, "2 fps": 500, "3 fps": 333, "5 fps": 200, "10 fps": 100}
PEOPLE = ("obama_portrait", "biden_portrait", "collins_portrait")


def lines() -> dict[str, tuple[int, int]]:
    """Name of a line -> frame period (ms), frames in a burst."""
    steady = {name: (period_ms, 1) for name, period_ms in PERIODS_MS.items()}
    return steady | {"bursts of 4 each 0.4 s": (400, 4)}


def play(period_ms: int, burst: int, *, swap: bool, visits: int) -> list[End]:
    analyzer, sprites, random = new_eye(), SpriteCache(), Random(period_ms + burst)
    pairs = list(permutations(PEOPLE, 2))
    ends = list[End]()
    while len(ends) < visits:
        holder, other = pairs[len(ends) % len(pairs)]
        visit = Visit(period_ms, holder, other if swap else None, burst=burst)
        end = Playback(visit, random.randrange(1 << 30), sprites).run(analyzer)
        if end.has_changed or not swap:  # a visit that ended before the swap does not count
            ends.append(end)
    return ends


def main() -> None:
    visits = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print("| camera | person | n | match | face_swapped | others | calls | ms p50 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (period_ms, burst) in lines().items():
        for swap in (False, True):
            ends = play(period_ms, burst, swap=swap, visits=visits)
            reasons = Counter(end.reason for end in ends)
            others = {key: n for key, n in reasons.items() if key not in ("same_person", "face_swapped")}
            other_text = ", ".join(f"`{key}` {n}" for key, n in others.items()) or "0"
            calls = sum(end.calls for end in ends) / visits
            median_ms = sorted(end.took_ms for end in ends)[visits // 2]
            print(
                f"| {name} | {'changes in a pause' if swap else 'the same'} | {visits}"
                f" | {reasons['same_person']} | {reasons['face_swapped']} | {other_text}"
                f" | {calls:.2f} | {median_ms} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
