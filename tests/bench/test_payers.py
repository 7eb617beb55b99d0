"""The rules of the challenge with simulated payers and films. The seeds give the same result at each run."""

from random import Random

from tests.bench.blind_films import DEGREES, Loop
from tests.bench.payers import Head, play

COUNT = 200


def passed(
    make: type[Head] | type[Loop],
    seconds: tuple[float, float],
    *,
    frame_ms: int = 100,
    settling: float = 0.0,
) -> int:
    def actor(random: Random) -> Head | Loop:
        degrees, time_ms = random.uniform(*DEGREES), 1e3 * random.uniform(*seconds)
        return (
            Head(random, degrees, time_ms, settling=settling)
            if make is Head
            else Loop(degrees, time_ms, random.uniform(0, 6))
        )

    return sum(play(seed, actor, 2, frame_ms).call_ms is not None for seed in range(COUNT))


def test_challenge_with_payers_passes_almost_all_of_them() -> None:
    assert passed(Head, (0.6, 0.9)) >= 190


def test_challenge_refuses_no_more_payers_at_a_higher_frame_rate() -> None:
    usual = passed(Head, (0.4, 0.6))
    for frame_ms in (66, 50, 33):
        assert passed(Head, (0.4, 0.6), frame_ms=frame_ms) >= usual, frame_ms


def test_challenge_with_heads_turned_at_the_first_frame_passes_most_of_them() -> None:
    assert passed(Head, (0.6, 0.9), settling=12.0) >= 170


def test_challenge_with_films_in_a_loop_passes_almost_none_of_them() -> None:
    assert passed(Loop, (2.5, 5.0)) <= 2
    assert passed(Loop, (5.0, 9.0)) <= 2
