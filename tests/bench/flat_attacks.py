"""Many photographs held to the camera: ``python -m tests.bench.flat_attacks`` prints the counts."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.vision.flat import Hand, attack, eye
from tests.vision.people import NAMES

SEEDS = 6
HANDS = {
    "turned to 20°": Hand(20),
    "turned to 40°": Hand(40),
    "turned to 40°, rolled 12°, tilted 10°": Hand(40, roll=12, pitch=10),
    "turned to 40°, shaking": Hand(40, shake=2),
    "turned to 55°": Hand(55),
    "turned to 35°, close to the lens": Hand(35, distance_mm=330),
    "bent a little (0.4 of half a tube), turned to 30°": Hand(30, bend=0.4),
    "bent strongly (0.8 of half a tube), turned to 45°": Hand(45, bend=0.8),
}


def attacked(title: str) -> tuple[int, Counter[str]]:
    """(how often a question would have been asked, how the others ended) for one way of holding it."""
    asked, ends, one_eye = 0, Counter[str](), eye()
    for name in NAMES:
        for seed in range(SEEDS):
            passed, reason = attack(one_eye, name, HANDS[title], seed)
            asked += passed
            ends.update([] if passed else [reason])
    return asked, ends


def main() -> int:
    print("| how the photograph is held | attacks | passed | how the others ended |\n|---|---|---|---|")
    total = 0
    with ProcessPoolExecutor(2) as pool:
        for title, (asked, ends) in zip(HANDS, pool.map(attacked, HANDS), strict=True):
            total += asked
            others = ", ".join(f"`{reason}` {count}" for reason, count in ends.most_common())
            print(f"| {title} | {asked + ends.total()} | {asked} | {others} |", flush=True)
    return 0 if total == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
