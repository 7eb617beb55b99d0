"""Head pose from five landmarks: how far a head is turned, and whether the head is solid or flat. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.core.model import Landmarks

LEVEL_PITCH = 0.56  # usual ``pitch_ratio`` of a head that looks straight ahead


@dataclass(frozen=True, slots=True)
class Pose:
    """Both values grow when the payer turns to the payer's left; 0 is about frontal.

    Not finite if unknown.
    """

    yaw: float  # nose offset divided by eye distance: changes for a turned head and for a turned photo
    depth: float  # the same offset within the plane of the face: constant for a photo
    # eye distance divided by the distance from eyes to mouth: smaller for each turned face
    width: float = 1.0

    @classmethod
    def of(cls, landmarks: Landmarks) -> Pose:
        return cls(yaw_ratio(landmarks), plane_offset(landmarks), width_ratio(landmarks))

    @property
    def is_known(self) -> bool:
        return all(map(math.isfinite, (self.yaw, self.depth, self.width))) and self.width > 0

    def slant_from(self, rest: Pose) -> float:
        """Tangent of the turn that explains the change of the width since ``rest``; 0: not narrower."""
        cosine = self.width / rest.width
        return math.sqrt(1.0 - cosine * cosine) / cosine if cosine < 1.0 else 0.0


def yaw_ratio(landmarks: Landmarks) -> float:
    """Nose offset from the centre of the eyes, along the line of the eyes, divided by the eye distance.

    Positive: the nose points to the right of the picture. Infinite when both eyes are at the same point.
    """
    right, left, nose = landmarks.right_eye, landmarks.left_eye, landmarks.nose
    dx, dy = left.x_px - right.x_px, left.y_px - right.y_px
    squared = dx * dx + dy * dy
    if squared == 0.0:
        return math.inf
    along = (nose.x_px - right.x_px) * dx + (nose.y_px - right.y_px) * dy
    return along / squared - 0.5


def width_ratio(landmarks: Landmarks) -> float:
    """Eye distance divided by the distance from the middle of the eyes to the middle of the mouth.

    Infinite when both middles are at the same point.
    """
    right, left = landmarks.right_eye, landmarks.left_eye
    corners = landmarks.right_mouth, landmarks.left_mouth
    dx = sum(c.x_px for c in corners) / 2 - (right.x_px + left.x_px) / 2
    dy = sum(c.y_px for c in corners) / 2 - (right.y_px + left.y_px) / 2
    height_px = math.hypot(dx, dy)
    eyes_px = math.hypot(left.x_px - right.x_px, left.y_px - right.y_px)
    return eyes_px / height_px if height_px > 0.0 else math.inf


def roll(landmarks: Landmarks) -> float:
    """Angle of the line of the eyes, radians, -pi to pi; 0 is upright. NaN for NaN landmarks."""
    right, left = landmarks.right_eye, landmarks.left_eye
    return math.atan2(left.y_px - right.y_px, left.x_px - right.x_px)


def pitch_ratio(landmarks: Landmarks) -> float:
    """Position of the nose between the centre of the eyes (0) and the centre of the mouth (1).

    Measured at a right angle to the line of the eyes, so roll does not change the value. Infinite when the
    mouth lies on that line or both eyes are at the same point.
    """
    right, left = landmarks.right_eye, landmarks.left_eye
    dx, dy = left.x_px - right.x_px, left.y_px - right.y_px

    def below(x: float, y: float) -> float:
        """Twice the area of the triangle on the line of the eyes: proportional to the distance below it."""
        return (y - right.y_px) * dx - (x - right.x_px) * dy

    corners = landmarks.right_mouth, landmarks.left_mouth
    mouth = below(sum(c.x_px for c in corners) / 2, sum(c.y_px for c in corners) / 2)
    return below(landmarks.nose.x_px, landmarks.nose.y_px) / mouth if mouth != 0.0 else math.inf


def plane_offset(landmarks: Landmarks) -> float:
    """Offset of the nose from the centre of the plane through eyes and mouth corners, measured in that plane.

    The four outer points are the corners of a unit square in perspective. The result is the coordinate of the
    nose across that square, minus one half. The value is the same for every view of a flat object, because
    each view is a perspective of the same plane. A real nose is in front of the plane, so its value changes
    when the head turns.

    Source: the square-to-quadrilateral mapping of P. Heckbert, "Fundamentals of Texture Mapping and Image
    Warping" (1989), section 2.2.3, inverted by Cramer's rule.

    Returns:
        About 0 for a frontal face; infinite when the four points define no plane (three in one line).
    """
    p0, p1, p2, p3 = landmarks.right_eye, landmarks.left_eye, landmarks.left_mouth, landmarks.right_mouth
    x, y = landmarks.nose.x_px, landmarks.nose.y_px
    dx1, dx2, sx = p1.x_px - p2.x_px, p3.x_px - p2.x_px, p0.x_px - p1.x_px + p2.x_px - p3.x_px
    dy1, dy2, sy = p1.y_px - p2.y_px, p3.y_px - p2.y_px, p0.y_px - p1.y_px + p2.y_px - p3.y_px
    corner = dx1 * dy2 - dx2 * dy1
    if corner == 0.0:
        return math.inf
    g, h = (sx * dy2 - dx2 * sy) / corner, (dx1 * sy - sx * dy1) / corner
    a, b = p1.x_px - p0.x_px + g * (p1.x_px - x), p3.x_px - p0.x_px + h * (p3.x_px - x)
    d, e = p1.y_px - p0.y_px + g * (p1.y_px - y), p3.y_px - p0.y_px + h * (p3.y_px - y)
    whole = a * e - b * d
    if whole == 0.0:
        return math.inf
    return ((x - p0.x_px) * e - b * (y - p0.y_px)) / whole - 0.5
