"""The faces of one turn of a challenge, as evidence for the analyzer. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TurnPath:
    """The faces of one turn of a challenge, from the prompt until the head is straight again."""

    is_left: bool  # the side as the payer sees it
    faces: tuple[object, ...] = field(repr=False)  # appearances, oldest first
