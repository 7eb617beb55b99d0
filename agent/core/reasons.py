"""The closed lists: decisions, reasons, refusals, what became of a frame, hints to the payer.

Each value is the word that stands on the wire, in logs, counters and documents. A new decision, reason or
refusal is a new version of the till contract; a till treats an unknown one as ``undecided``.
"""

from __future__ import annotations

from enum import StrEnum


class Decision(StrEnum):
    MATCH = "match"
    NO_MATCH = "no_match"
    UNDECIDED = "undecided"


class Reason(StrEnum):
    """Why a decision is what it is. A closed list, grouped by who acts on it."""

    # the till
    SAME_PERSON = "same_person"
    CANCELLED = "cancelled"
    # the cashier: another way to pay
    DIFFERENT_PERSON = "different_person"
    ATTEMPT_LIMIT = "attempt_limit"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    # the payer
    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    FACE_UNUSABLE = "face_unusable"
    FACE_LOST = "face_lost"
    FACE_SWAPPED = "face_swapped"
    LIVENESS_FAILED = "liveness_failed"
    LIVENESS_NOT_COMPLETED = "liveness_not_completed"
    # the enrolment desk
    REFERENCE_UNUSABLE = "reference_unusable"
    # the back office
    REFERENCE_UNREACHABLE = "reference_unreachable"
    REFERENCE_REFUSED = "reference_refused"
    COST_LIMIT = "cost_limit"
    # the operator
    COMPARE_ACCOUNT = "compare_account"
    COMPARE_CREDENTIALS = "compare_credentials"
    COMPARE_CONFIG = "compare_config"
    CLOCK = "clock"
    ASSURANCE_UNMET = "assurance_unmet"
    # network or provider
    COMPARE_UNREACHABLE = "compare_unreachable"
    COMPARE_BUSY = "compare_busy"
    COMPARE_FAILED = "compare_failed"
    COMPARE_MALFORMED = "compare_malformed"
    COMPARE_UNKNOWN_CODE = "compare_unknown_code"
    # field service
    CAMERA_UNAVAILABLE = "camera_unavailable"
    CAMERA_FROZEN = "camera_frozen"
    MODEL_UNUSABLE = "model_unusable"
    # us
    INTERNAL_ERROR = "internal_error"


class Refusal(StrEnum):
    """Why a request gets an event in place of a result.

    The request id is then not used up, except after ``result_expired``, and after a ``storage_unavailable``
    that follows ``accepted``.
    """

    REQUEST_MALFORMED = "request_malformed"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_RETAINED = "request_retained"
    REQUEST_STALE = "request_stale"
    SCHEMA_UNSUPPORTED = "schema_unsupported"
    ID_CONFLICT = "id_conflict"
    CONSENT_MISSING = "consent_missing"
    BUSY = "busy"
    RATE_LIMITED = "rate_limited"
    RESULT_EXPIRED = "result_expired"
    UNKNOWN_REQUEST = "unknown_request"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_INVALID = "signature_invalid"
    NOT_READY = "not_ready"
    STOPPING = "stopping"
    STORAGE_UNAVAILABLE = "storage_unavailable"


class FrameReason(StrEnum):
    """What became of one frame. Every frame ends in exactly one; the counters add up to frames seen."""

    IDLE = "idle"  # no request open: no face was looked for
    NO_PRESENCE = "no_presence"  # nobody stands there: the detector was not run
    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    OFF_CENTRE = "off_centre"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    TURNED = "turned"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BACKLIT = "backlit"  # too dark, because the light stands behind the payer
    BLURRED = "blurred"
    FOLLOWED = "followed"  # the payer of the last shot, usable, looked at only where he was: no shot of it
    SHOT = "shot"


class Continuity(StrEnum):
    """Whether the face of a frame is the face that was seen before it. Only SAME keeps a track number."""

    SAME = "same"  # unbroken track, or the embeddings agree
    UNKNOWN = "unknown"  # the track broke and no embedding decides: never taken for SAME or OTHER
    OTHER = "other"  # the track broke and the embeddings disagree


class Guidance(StrEnum):
    """The one hint shown to the payer now. Texts live in the locale files."""

    LOOK_HERE = "look_here"
    COME_CLOSER = "come_closer"
    STEP_BACK = "step_back"
    MOVE_LEFT = "move_left"
    MOVE_RIGHT = "move_right"
    LOOK_STRAIGHT = "look_straight"
    HOLD_STILL = "hold_still"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BACKLIT = "backlit"
    ONE_PERSON = "one_person"
    REMOVE_COVER = "remove_cover"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    THANK_YOU = "thank_you"
