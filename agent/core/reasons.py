"""The closed lists of codes: decisions, reasons, refusals, frame reasons, continuity and guidance.

Each value is the code on the wire, in logs, counters and documents. A new decision, reason or refusal is a
new version of the till contract. A till treats an unknown code as ``undecided``.
"""

from enum import StrEnum


class Decision(StrEnum):
    MATCH = "match"
    NO_MATCH = "no_match"
    UNDECIDED = "undecided"


class Reason(StrEnum):
    """The reason of a decision, grouped by the party that has to act."""

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
    # the developers
    INTERNAL_ERROR = "internal_error"


class Refusal(StrEnum):
    """The reason of an event that replaces a result.

    The request id stays usable, except after ``result_expired``, and after a ``storage_unavailable`` that
    follows ``accepted``.
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
    """The result of one frame.

    Each frame has exactly one; the sum of the counters is the number of frames. Exception: within a
    verification, a frame that repeats the last new picture is not counted.
    """

    IDLE = "idle"  # no open request: no face detection
    NO_PRESENCE = "no_presence"  # the picture equals the empty scene: no face detection
    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    OFF_CENTRE = "off_centre"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    TURNED = "turned"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BACKLIT = "backlit"  # too dark, because the light is behind the payer
    SIDE_LIT = "side_lit"  # one half of the face is much darker than the other
    BLURRED = "blurred"
    COVERED = "covered"  # eyes or mouth are covered
    FOLLOWED = "followed"  # the usable payer of the last shot, found in the region of that face only: no shot
    SHOT = "shot"


class Continuity(StrEnum):
    """Whether the face of a frame is the face of the frame before. Only SAME keeps the track number."""

    SAME = "same"  # unbroken track, or the embeddings agree
    UNKNOWN = "unknown"  # the track broke and no embedding decides: never treated as SAME or OTHER
    OTHER = "other"  # the track broke and the embeddings disagree


class Guidance(StrEnum):
    """The one hint that the payer sees now. The texts are in the message files."""

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
    SIDE_LIGHT = "side_light"
    REMOVE_COVER = "remove_cover"
    RAISE_HEAD = "raise_head"
    LOWER_HEAD = "lower_head"
    ONE_PERSON = "one_person"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    THANK_YOU = "thank_you"
