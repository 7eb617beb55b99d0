"""Judgement of one frame by the policy: selection of the payer, measures, quality limits and hint. Pure.

The analyzer, the check of an enrolled photo and the replay of a trace use the same function, so their reasons
agree.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.core.hints import hint_for
from agent.core.model import Detection, Quality
from agent.core.policy import PolicyLimits, choose_face, face_reason
from agent.core.reasons import FrameReason, Guidance

UNMEASURED = Quality(*[math.nan] * 15)  # of a recorded face whose measures were not recorded


@dataclass(frozen=True, slots=True)
class Judgement:
    """The policy's result for one frame.

    ``quality`` is set exactly when a payer was selected; ``face`` is then the payer. Otherwise ``face`` is
    the largest face, for a hint, or None. ``hint``: of the geometry (module ``hints``), if there is one.
    """

    reason: FrameReason
    face: Detection | None
    others: tuple[Detection, ...]
    quality: Quality | None = None
    hint: Guidance | None = None


def judge(
    detections: Sequence[Detection],
    width_px: int,
    height_px: int,
    limits: PolicyLimits,
    measure: Callable[[Detection], Quality],
) -> Judgement:
    """Select the payer's face, measure the face and check its quality.

    Args:
        detections: all faces of the frame, in any order.
        measure: returns the quality of a face. Called at most once, for the payer only.
    """
    choice = choose_face(detections, width_px, height_px, limits)
    quality = None
    if choice.face is None or choice.reason is not None:
        reason = choice.reason or FrameReason.NO_FACE
    else:
        quality = measure(choice.face)
        reason = face_reason(choice.face, quality, width_px, height_px, limits)
    hint = hint_for(reason, choice.face, quality, width_px, limits)
    return Judgement(reason, choice.face, choice.others, quality, hint)
