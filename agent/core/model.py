"""The vocabulary: one word, one meaning. Frozen values, no behaviour beyond arithmetic on themselves.

Units: ``_px`` in pixels of the full-size frame, ``_ms`` integer milliseconds. Times named ``at_ms``,
``captured_ms`` or ``deadline_ms`` are on the boot clock (``ports.Clock.now_ms``), never wall time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.core.reasons import Continuity, Decision, FrameReason, Guidance, Reason


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture. ``pixels`` is opaque to the core: the camera and the eye agree on it (BGR uint8)."""

    pixels: object
    seq: int  # strictly increasing within one camera
    captured_ms: int
    width_px: int
    height_px: int
    # the same picture, same moment and same view, smaller, from a camera that makes one by the way; or None
    small: object = None
    # what the camera tells of this very picture, by the camera's own words and units; often empty
    told: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """One cheap look at a frame's brightness, no face is looked for."""

    mean_luma: float  # 0–255
    covered: bool = False  # black for a while: cap on, hand on the lens, no light at all
    frozen: bool = False  # the same picture, bit for bit, for longer than a live sensor can manage


@dataclass(frozen=True, slots=True)
class FaceLight:
    """How the payer's face is lit, for a camera that can expose for it. Values only: the camera decides."""

    captured_ms: int
    luma: float  # 0–255, mean of the face
    under: float  # 0–1; 0: not measured, 1: the darkest that can be measured
    over: float  # the same for too much light


@dataclass(frozen=True, slots=True)
class Point:
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned rectangle in frame pixels; may reach beyond the frame's edge."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float

    @property
    def area_px(self) -> float:
        return max(0.0, self.width_px) * max(0.0, self.height_px)

    @property
    def centre(self) -> Point:
        return Point(self.x_px + self.width_px / 2, self.y_px + self.height_px / 2)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Five points in frame pixels. ``right`` is the person's right, so the picture's left."""

    right_eye: Point
    left_eye: Point
    nose: Point
    right_mouth: Point
    left_mouth: Point


@dataclass(frozen=True, slots=True)
class Detection:
    box: Box
    landmarks: Landmarks
    confidence: float  # 0–1


@dataclass(frozen=True, slots=True)
class Quality:
    """Named measures of a face, each 0–100, higher is better, and one combined score, 0–100.

    The names are those of ISO/IEC 29794-5; no conformance is claimed. Its SingleFacePresent is no number
    here: a second face that counts is ``multiple_faces``. How each is measured: ``vision/quality.py``.
    """

    inter_eye_distance: float
    head_pose_yaw: float
    head_pose_pitch: float
    head_pose_roll: float
    sharpness: float
    under_exposure_prevention: float
    over_exposure_prevention: float
    dynamic_range: float
    illumination_uniformity: float
    crop_margins: float
    score: float
    # no scores: percent of white, 0–100; they tell too dark from too bright, and from light behind the payer
    face_luma: float = 50.0
    background_luma: float = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A face good enough to send. Holds its frame until it is cropped; nothing here is encoded."""

    frame: Frame
    face: Detection
    quality: Quality
    track: int  # the same number as long as it is the same person, as far as the tracker can tell
    others: tuple[Detection, ...] = ()  # bystanders in the same frame: blanked in the crop


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result for one frame. ``shot`` exactly when ``reason`` is SHOT; ``face``: the one that counts."""

    frame_seq: int
    captured_ms: int
    reason: FrameReason
    face: Detection | None = None
    track: int | None = None
    quality: Quality | None = None
    shot: Shot | None = None
    hint: Guidance | None = None  # the eye's own wish, e.g. which way to move
    others: tuple[Detection, ...] = ()  # everyone else found; a followed frame knows of nobody else
    frame_width_px: int = 0
    frame_height_px: int = 0
    continuity: Continuity = Continuity.UNKNOWN  # with a face but no track: a later frame may still decide
    similarity: float | None = None  # -1 to 1, to the track's first shot; None: no embedding was needed


@dataclass(frozen=True, slots=True)
class Crop:
    """Encoded bytes of the face: the only pixels that leave the process."""

    jpeg: bytes = field(repr=False)
    width_px: int
    height_px: int


# --- the question and its answer -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """The enrolled photo to compare with: exactly one of ``url`` and ``image``; ``sha256`` of its bytes."""

    url: str | None = None
    image: bytes | None = field(default=None, repr=False)
    sha256: str | None = None  # lower-case hex


@dataclass(frozen=True, slots=True)
class Comparison:
    """The API's answer to one ask."""

    similarity: float  # 0–100 if the provider is honest; judged by policy, so NaN may stand here
    threshold: float  # the provider's own; scales differ between providers
    provider: str
    session_id: str = ""
    code: int = 0
    sign_ms: int = 0
    connect_ms: int = 0
    api_ms: int = 0  # request on the wire → answer read


@dataclass(frozen=True, slots=True)
class Request:
    """One parsed till request. ``payload_sha256`` is over the MQTT payload bytes as received."""

    request_id: str
    till: str
    transaction_id: str
    nonce: str
    epoch: str
    ttl_ms: int
    reference: Reference
    payload_sha256: str
    received_ms: int
    budget_ms: int  # min(ttl - age, remaining message expiry, configured maximum), from received_ms
    consent_ref: str | None = None
    require: tuple[str, ...] = ()
    locale: str | None = None
    age_ms: int | None = None  # between sending and arrival, by its own send time; None: not known
    expires: bool = False  # the broker reported a message expiry, not longer than ``ttl_ms``

    @property
    def deadline_ms(self) -> int:
        """The till's deadline; the core's own lies the publish margin before it."""
        return self.received_ms + self.budget_ms


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one verification went, in ms: sums over all calls, those that timed out included."""

    wait_face: int = 0
    hold: int = 0
    encode: int = 0
    sign: int = 0
    connect: int = 0
    api: int = 0
    total: int = 0


Liveness = Literal["passed", "failed", "not_checked"]


@dataclass(frozen=True, slots=True)
class Assurance:
    """What the result rests on; ``not_checked`` is never ``passed``."""

    liveness: Liveness = "not_checked"
    camera: str = ""
    transport: str = ""
    policy_sha256: str = ""
    accepted_risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What is published for one accepted request: exactly one."""

    request: Request
    decision: Decision
    reason: Reason
    asks: int
    comparison: Comparison | None
    timings: Timings
    assurance: Assurance
    api_code: int | None = None
    calls: int = 0  # requests that were sent to the API, so perhaps paid; at most ``asks``
