"""The random plan of a liveness challenge: sides and moments of its turns. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

# From the second frame to the first prompt, and from the last turned frame to a later prompt. The first wait
# and the times of the turns stop films that turn in a loop. A longer wait before a later prompt lets more of
# them pass, because their next turn then comes sooner after the prompt
# (docs/explanation/challenge-payers.md).
WAIT_MS, NEXT_WAIT_MS = (250, 500), (50, 150)
ATTEMPTS = 3  # challenges drawn per verification


class TurnSide(StrEnum):
    """The side as the payer sees it."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Turn:
    side: TurnSide
    wait_ms: int  # before the prompt


Plan = tuple[Turn, ...]


def draw(turns: int, rand: Callable[[int], int]) -> tuple[Plan, ...]:
    """Draw the challenges of one verification, one per attempt; none for 0 ``turns``.

    ``rand(n)`` returns an unpredictable number from 0 to n - 1.
    """
    if turns == 0:
        return ()
    waits = (WAIT_MS, *[NEXT_WAIT_MS] * (turns - 1))
    return tuple(tuple(_draw_turn(wait, rand) for wait in waits) for _ in range(ATTEMPTS))


def _draw_turn(wait: tuple[int, int], rand: Callable[[int], int]) -> Turn:
    """``wait``: the shortest wait, and the end of the range, which is excluded; ms."""
    sides, (min_ms, max_ms) = tuple(TurnSide), wait
    return Turn(sides[rand(len(sides))], min_ms + rand(max_ms - min_ms))
