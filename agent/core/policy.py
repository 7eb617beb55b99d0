"""Policy: selection of the payer's face, and the limits of a face that is good enough to send. Pure.

Every comparison is written so that NaN fails: a face with an undefined number never passes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from agent.core.model import Analysis, Box, Detection, FaceLight, Landmarks, Point, Quality
from agent.core.reasons import Continuity, FrameReason

_MARGIN = 0.25  # of the eye distance: margin around each eye, the nose and each mouth corner
_MIN_VISIBLE = 0.8  # of the area of the face box: a face cut off by the edge of the frame is no shot
_BACKLIT = 2.5  # background brightness divided by face brightness from which the light is behind the payer
_BRIGHT_LUMA = 50.0  # percent of white: a brighter face without contrast has too much light, not too little

# Cosine of two SFace embeddings. 0.363 is the threshold that OpenCV publishes for SFace. An impostor can
# score between the two numbers (0.396 in 3 646 pairs), so a face in that range is neither confirmed nor
# refused.
_SAME_COSINE, _OTHER_COSINE = 0.5, 0.363
# A turned face of the same person scores lower. In a simulation 5 % of the turned faces were below 0.39 to
# 0.48, and the highest of another person was 0.343 (docs/explanation/challenge.md).
_SAME_TURNED, _OTHER_TURNED = 0.363, 0.25

# Measures of ``Quality`` in the order of the checks, with the reason for a measure below its limit.
_MEASURES = {
    "head_pose_yaw": FrameReason.TURNED,
    "head_pose_pitch": FrameReason.TURNED,
    "head_pose_roll": FrameReason.TURNED,
    "inter_eye_distance": FrameReason.TOO_SMALL,  # after the pose: the eyes of a turned head are closer
    "under_exposure_prevention": FrameReason.TOO_DARK,
    "over_exposure_prevention": FrameReason.TOO_BRIGHT,
    "dynamic_range": FrameReason.TOO_DARK,
    "illumination_uniformity": FrameReason.SIDE_LIT,
    "sharpness": FrameReason.BLURRED,
    "crop_margins": FrameReason.OFF_CENTRE,
    "eyes_visible": FrameReason.COVERED,
    "mouth_occlusion_prevention": FrameReason.COVERED,
}

_QUALITY_FIELDS = tuple(measure.name for measure in fields(Quality))  # read one by one: astuple copies deeply


@dataclass(frozen=True, slots=True)
class PolicyLimits:
    """The config section ``policy``, field by field: ``PolicyLimits(**section.model_dump())``."""

    zone_left: float = 0.15
    zone_right: float = 0.85
    zone_top: float = 0.0
    zone_bottom: float = 1.0
    dominance: float = 2.0
    min_face_px: float = 100.0
    max_face_fraction: float = 0.9
    min_head_pose_yaw: float = 50.0
    min_head_pose_pitch: float = 30.0
    min_head_pose_roll: float = 50.0
    min_inter_eye_distance: float = 50.0
    min_under_exposure_prevention: float = 30.0
    min_over_exposure_prevention: float = 30.0
    min_dynamic_range: float = 20.0
    min_illumination_uniformity: float = 30.0
    min_sharpness: float = 30.0
    min_crop_margins: float = 0.0
    min_eyes_visible: float = 50.0
    min_mouth_occlusion_prevention: float = 50.0
    excellent_score: float = 80.0


@dataclass(frozen=True, slots=True)
class FaceChoice:
    """The face of the payer, or the reason why no face was selected.

    ``face`` with ``reason`` None is the payer. ``face`` with ``off_centre`` is the largest face, for a hint
    only. ``others`` are all other faces in the frame; a crop blanks them.
    """

    reason: FrameReason | None
    face: Detection | None = None
    others: tuple[Detection, ...] = ()


def choose_face(
    detections: Sequence[Detection], width_px: int, height_px: int, limits: PolicyLimits
) -> FaceChoice:
    """Select the payer's face. The order of ``detections`` has no effect.

    The largest face with its centre in the payer zone is the payer if its area is at least ``dominance``
    times the area of every rival. A rival is another face in the zone that is large enough to compete with
    the smallest usable payer. People in the background are not rivals.
    """
    faces = sorted((d for d in detections if is_well_formed(d)), key=_rank)
    if not faces:
        return FaceChoice(FrameReason.NO_FACE)
    inside = [face for face in faces if _in_zone(face.box.centre, width_px, height_px, limits)]
    if not inside:
        return FaceChoice(FrameReason.OFF_CENTRE, faces[0], tuple(faces[1:]))
    payer = inside[0]
    rival_px = limits.min_face_px / math.sqrt(limits.dominance)
    for rival in inside[1:]:
        dominated = payer.box.area_px >= limits.dominance * rival.box.area_px
        if _side_px(rival.box) >= rival_px and not dominated:
            return FaceChoice(FrameReason.MULTIPLE_FACES, None, tuple(faces))
    return FaceChoice(None, payer, tuple(face for face in faces if face is not payer))


def face_reason(
    face: Detection, quality: Quality, width_px: int, height_px: int, limits: PolicyLimits
) -> FrameReason:
    """The reason why this face is not good enough to send, or ``shot``. The first failing check decides.

    The order is: too_small, too_large, off_centre (cut off by the edge of the frame), turned, too_dark,
    backlit or too_bright, side_lit, blurred, off_centre (no margin for a crop), covered. So the payer
    corrects the first problem first. A face with any NaN is ``no_face``.
    """
    if not is_well_formed(face) or not is_measured(quality):
        return FrameReason.NO_FACE
    if not _side_px(face.box) >= limits.min_face_px:
        return FrameReason.TOO_SMALL
    if not face.box.height_px <= limits.max_face_fraction * height_px:
        return FrameReason.TOO_LARGE
    if not _visible_fraction(face.box, width_px, height_px) >= _MIN_VISIBLE:
        return FrameReason.OFF_CENTRE
    if not _is_whole(face.landmarks, width_px, height_px):
        return FrameReason.OFF_CENTRE
    for measure, reason in _MEASURES.items():
        if not getattr(quality, measure) >= getattr(limits, f"min_{measure}"):
            return _light_reason(quality) if reason is FrameReason.TOO_DARK else reason
    return FrameReason.SHOT


def is_covered(quality: Quality, limits: PolicyLimits) -> bool:
    """Whether the eyes or the mouth are covered."""
    is_free = quality.eyes_visible >= limits.min_eyes_visible
    return not (is_free and quality.mouth_occlusion_prevention >= limits.min_mouth_occlusion_prevention)


def continuity_of(similarity: float | None, *, turned: bool = False) -> Continuity:
    """The continuity for the cosine of two embeddings (-1 to 1). None and NaN are UNKNOWN.

    ``turned``: one of the faces is turned, as the challenge prompts.
    """
    same, other = (_SAME_TURNED, _OTHER_TURNED) if turned else (_SAME_COSINE, _OTHER_COSINE)
    if similarity is None or not math.isfinite(similarity):
        return Continuity.UNKNOWN
    if similarity >= same:
        return Continuity.SAME
    return Continuity.OTHER if similarity < other else Continuity.UNKNOWN


def face_light(analysis: Analysis) -> FaceLight | None:
    """The brightness of the payer's face; None without a payer or with numbers that are not finite."""
    quality = analysis.quality
    if quality is None or not is_measured(quality):
        return None
    return FaceLight(
        analysis.captured_ms,
        luma=min(255.0, max(0.0, quality.face_luma * 2.55)),
        over=min(1.0, max(0.0, 1.0 - quality.over_exposure_prevention / 100.0)),
    )


def is_well_formed(face: Detection) -> bool:
    """Whether all numbers are finite and the box has a positive area."""
    box, confidence = face.box, face.confidence
    numbers = (box.x_px, box.y_px, box.width_px, box.height_px, confidence, *coordinates(face.landmarks))
    return all(map(math.isfinite, numbers)) and box.width_px > 0 and box.height_px > 0


def is_measured(quality: Quality) -> bool:
    """Whether every measure is a finite number."""
    return all(math.isfinite(getattr(quality, name)) for name in _QUALITY_FIELDS)


def coordinates(landmarks: Landmarks) -> tuple[float, ...]:
    """The ten numbers of five points: x and y of right eye, left eye, nose, right and left mouth corner."""
    points: tuple[Point, ...] = (landmarks.right_eye, landmarks.left_eye, landmarks.nose)
    points += (landmarks.right_mouth, landmarks.left_mouth)
    return tuple(number for point in points for number in (point.x_px, point.y_px))


def _rank(face: Detection) -> tuple[float, ...]:
    """Sort key: largest first; ties by confidence, then by position, so the order of input has no effect."""
    return (-face.box.area_px, -face.confidence, face.box.x_px, face.box.y_px, *coordinates(face.landmarks))


def _side_px(box: Box) -> float:
    return min(box.width_px, box.height_px)


def _in_zone(centre: Point, width_px: int, height_px: int, limits: PolicyLimits) -> bool:
    return (
        limits.zone_left * width_px <= centre.x_px <= limits.zone_right * width_px
        and limits.zone_top * height_px <= centre.y_px <= limits.zone_bottom * height_px
    )


def _visible_fraction(box: Box, width_px: int, height_px: int) -> float:
    """Share of the box that lies inside the frame, 0–1; 0 for a box without an area."""
    visible_width_px = min(box.x_px + box.width_px, width_px) - max(box.x_px, 0.0)
    visible_height_px = min(box.y_px + box.height_px, height_px) - max(box.y_px, 0.0)
    return max(0.0, visible_width_px) * max(0.0, visible_height_px) / box.area_px if box.area_px > 0 else 0.0


def _is_whole(marks: Landmarks, width_px: int, height_px: int) -> bool:
    """Whether eyes, nose and mouth lie well inside the frame.

    The box does not show that: the detector shrinks the box to the visible part of the face.
    """
    margin = _MARGIN * math.hypot(
        marks.right_eye.x_px - marks.left_eye.x_px, marks.right_eye.y_px - marks.left_eye.y_px
    )
    xs, ys = coordinates(marks)[0::2], coordinates(marks)[1::2]
    in_width = margin <= min(xs) and max(xs) <= width_px - margin
    return in_width and margin <= min(ys) and max(ys) <= height_px - margin


def _light_reason(quality: Quality) -> FrameReason:
    """The kind of bad light. A face without contrast has too much light, too little, or light from behind."""
    if quality.face_luma >= _BRIGHT_LUMA:
        return FrameReason.TOO_BRIGHT
    if quality.background_luma >= _BACKLIT * quality.face_luma:
        return FrameReason.BACKLIT
    return FrameReason.TOO_DARK
