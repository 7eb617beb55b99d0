"""The movement of a head in one frame of a challenge: as prompted, the wrong way, or without depth. Pure.

The limits come from simulated attacks and filmed heads (docs/explanation/attacks.md).
"""

from enum import StrEnum

MIN_YAW = 0.25  # about 25 degrees of a head; see tests/bench/attacks.py
MIN_DEPTH = 0.2
# Least yaw for the slant of the face: the nose of a head is 0.4 eye distances in front, of filmed heads 0.42.
MIN_RELIEF = 0.2
SURE_YAW = 0.35  # a face with this yaw and no depth is flat
FLAT_DEPTH = 0.08


class Move(StrEnum):
    """The movement of the head in one frame, relative to the prompt."""

    PROMPTED = "prompted"
    WRONG_WAY = "wrong_way"  # to the other side
    FLAT = "flat"  # a large yaw, and the nose stays in the plane of the face


def move_of(yaw: float, depth: float, slant: float = 0.0) -> Move | None:
    """The movement for two offsets, positive to the prompted side; None for offsets that are too small.

    ``slant``: of the face against the pose at rest (``Pose.slant_from``).
    """
    if yaw >= MIN_YAW and depth >= MIN_DEPTH:
        return Move.PROMPTED if yaw >= MIN_RELIEF * slant else None
    if yaw <= -MIN_YAW and depth <= -MIN_DEPTH:
        return Move.WRONG_WAY
    return Move.FLAT if abs(yaw) >= SURE_YAW and abs(depth) <= FLAT_DEPTH else None
