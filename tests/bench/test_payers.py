"""The rules of the challenge with simulated payers and films. The seeds give the same result at each run."""

from random import Random

from tests.bench.blind_films import DEGREES, Loop
from tests.bench.payers import Head, play

COUNT = 200


def passed(make: type[Head] | type[Loop], seconds: tuple[float, float]) -> int:
    def actor(random: Random) -> Head | Loop:
        degrees, time_ms = random.uniform(*DEGREES), 1e3 * random.uniform(*seconds)
        return (
            Head(random, degrees, time_ms) if make is Head else Loop(degrees, time_ms, random.uniform(0, 6))
        )

    return sum(play(seed, actor, 2, 100).call_ms is not None for seed in range(COUNT))


def test_challenge_with_payers_passes_almost_all_of_them() -> None:
    assert passed(Head, (0.6, 0.9)) >= 190


def test_challenge_with_films_in_a_loop_passes_almost_none_of_them() -> None:
    assert passed(Loop, (2.5, 5.0)) <= 2
    assert passed(Loop, (5.0, 9.0)) <= 2
