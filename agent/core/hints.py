"""Hints that only the geometry of a frame can give: where to move, how to hold the head. Pure."""

from agent.core.geometry import LEVEL_PITCH, pitch_ratio
from agent.core.model import Detection, Quality
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason, Guidance


def hint_for(
    reason: FrameReason, face: Detection | None, quality: Quality | None, width_px: int, limits: PolicyLimits
) -> Guidance | None:
    """The direction to move for ``off_centre``, up or down for ``turned``; else None.

    Other reasons have one hint each (``guidance``).
    """
    if face is None:
        return None
    match reason:
        case FrameReason.OFF_CENTRE:
            return _sideways(face.box.centre.x_px, width_px, limits)
        case FrameReason.TURNED if quality is not None:
            return _up_or_down(face, quality, limits)
        case _:
            return None


def _sideways(x_px: float, width_px: int, limits: PolicyLimits) -> Guidance | None:
    """Left and right are those of the payer: at the left edge of the picture is too far to the right."""
    if x_px < limits.zone_left * width_px:
        return Guidance.MOVE_LEFT
    if x_px > limits.zone_right * width_px:
        return Guidance.MOVE_RIGHT
    return None


def _up_or_down(face: Detection, quality: Quality, limits: PolicyLimits) -> Guidance | None:
    """None for a head that is turned to a side. The nose of a lowered head is close to the mouth."""
    if not quality.head_pose_yaw >= limits.min_head_pose_yaw:
        return None
    if quality.head_pose_pitch >= limits.min_head_pose_pitch:
        return None
    return Guidance.RAISE_HEAD if pitch_ratio(face.landmarks) > LEVEL_PITCH else Guidance.LOWER_HEAD
