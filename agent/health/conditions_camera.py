"""Conditions of the camera. Without fresh frames of a moving scene no verification is possible."""

from functools import partial

from agent.health.condition import Condition, Severity

CAMERA_UNAVAILABLE = Condition(code="camera_unavailable", visible_after_ms=1_000)
CAMERA_STALLED = Condition(code="camera_stalled", visible_after_ms=1_000)
CAMERA_BUSY = Condition(code="camera_busy", visible_after_ms=1_000)
CAMERA_ABSENT = Condition(code="camera_absent", visible_after_ms=1_000)
CAMERA_DENIED = Condition(code="camera_denied", visible_after_ms=1_000)

NO_PICTURE = (CAMERA_UNAVAILABLE, CAMERA_STALLED, CAMERA_BUSY, CAMERA_ABSENT, CAMERA_DENIED)
"""The causes of a missing picture, at most one at a time. The camera adapter selects the cause."""

CAMERA_FROZEN = Condition(code="camera_frozen", depends_on=NO_PICTURE)
# these faults often end by themselves: a hand or a cloth, a lamp or the sun
_temporary = partial(
    Condition, severity=Severity.WARNING, depends_on=(*NO_PICTURE, CAMERA_FROZEN), visible_after_ms=3_000
)
CAMERA_COVERED = _temporary(code="camera_covered")
CAMERA_OVEREXPOSED = _temporary(code="camera_overexposed")
CAMERA_BLURRED = Condition(code="camera_blurred", severity=Severity.WARNING)
CAMERA_TOO_FAR = Condition(code="camera_too_far", severity=Severity.WARNING)
CAMERA_NO_FACE = Condition(code="camera_no_face", severity=Severity.WARNING)
CAMERA_FACES_UNUSABLE = Condition(code="camera_faces_unusable", severity=Severity.WARNING)
VIEW_CONDITIONS = (CAMERA_BLURRED, CAMERA_TOO_FAR, CAMERA_NO_FACE, CAMERA_FACES_UNUSABLE)
"""Raised after several verifications in a row, at most one at a time: ``health.frame_meter.ViewMeter``."""

ROWS = (*NO_PICTURE, CAMERA_FROZEN, CAMERA_COVERED, CAMERA_OVEREXPOSED, *VIEW_CONDITIONS)
"""All conditions of the camera: a failed camera clears the others, because nothing shows them any more."""
