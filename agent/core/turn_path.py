"""The faces of one turn of a challenge, as evidence for the analyzer. Pure."""

from dataclasses import dataclass, field


def evidence_count(turns: int) -> int:
    """The number of appearances in ``Shot.evidence`` after a passed challenge."""
    return 1 + 2 * turns


@dataclass(frozen=True, slots=True)
class TurnPath:
    """The faces of one turn of a challenge, from the prompt until the head is on its way back.

    The last face has a yaw of at most 0.12 after the last turn, and of at most 0.2 after an earlier turn.
    """

    is_left: bool  # the side as the payer sees it
    faces: tuple[object, ...] = field(repr=False)  # appearances, oldest first
