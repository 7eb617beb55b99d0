"""Attacks with photographs: ``python -m tests.bench.flat_attacks`` prints the number of passed challenges."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.vision.flat import Hand, analyzer, attack
from tests.vision.people import NAMES

SEEDS = 6
MOVEMENTS = {
    "turned to 20°": Hand(20),
    "turned to 40°": Hand(40),
    "turned to 40°, rolled 12°, tilted 10°": Hand(40, roll=12, pitch=10),
    "turned to 40°, shaking": Hand(40, shake=2),
    "turned to 55°": Hand(55),
    "turned to 35°, close to the lens": Hand(35, distance_mm=330),
    "bent a little (0.4 of half a tube), turned to 30°": Hand(30, bend=0.4),
    "bent strongly (0.8 of half a tube), turned to 45°": Hand(45, bend=0.8),
}


def attack_all(title: str) -> tuple[int, Counter[str]]:
    """(number of passed challenges, reasons of the other attacks) for one movement of the photograph."""
    passed_count, ends, face_analyzer = 0, Counter[str](), analyzer()
    for name in NAMES:
        for seed in range(SEEDS):
            passed, reason = attack(face_analyzer, name, MOVEMENTS[title], seed)
            passed_count += passed
            ends.update([] if passed else [reason])
    return passed_count, ends


def main() -> int:
    print("| how the photograph is held | attacks | passed | how the others ended |\n|---|---|---|---|")
    total = 0
    with ProcessPoolExecutor(2) as pool:
        for title, (passed_count, ends) in zip(MOVEMENTS, pool.map(attack_all, MOVEMENTS), strict=True):
            total += passed_count
            others = ", ".join(f"`{reason}` {count}" for reason, count in ends.most_common())
            print(f"| {title} | {passed_count + ends.total()} | {passed_count} | {others} |", flush=True)
    return 0 if total == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
