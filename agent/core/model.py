"""The values of the core: frames, faces, requests and results. All are frozen.

Units: ``_px`` are pixels of the full-size frame, ``_ms`` integer milliseconds. Times (``at_ms``) are on the
boot clock (``ports.Clock.now_ms``), never wall time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.core.reasons import Continuity, Decision, FrameReason, Guidance, Reason
from agent.core.turn_path import TurnPath


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture. ``pixels`` is opaque to the core; camera and analyzer use (H, W, 3) uint8, B,G,R."""

    pixels: object
    seq: int  # strictly increasing within one camera
    captured_ms: int
    width_px: int
    height_px: int
    small: object = None  # the same picture in low resolution, from a camera with a second stream
    metadata: Mapping[str, float] = field(default_factory=dict)  # names and units of the driver; often empty


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """The result of the brightness check of one frame, which needs no face detection."""

    mean_luma: float  # 0–255, of the green channel
    covered: bool = False  # black for 2 s: lens cap, hand on the lens, or no light
    overexposed: bool = False  # almost white for 2 s: a lamp or a window shines into the lens
    repeated_ms: int = 0  # age of identical pixels, from 2 s on: no living face, no sensor without a codec
    is_repeated: bool = False  # the picture equals the last new picture
    frozen: bool = False  # identical pixels for longer than this kind of camera explains


@dataclass(frozen=True, slots=True)
class FaceLight:
    """The brightness of the payer's face, for a camera that can set its exposure. The camera decides."""

    captured_ms: int
    luma: float  # 0–255, mean of the face
    over: float  # over-exposure, 0–1


@dataclass(frozen=True, slots=True)
class Point:
    x_px: float
    y_px: float


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned rectangle in frame pixels; may extend beyond the edge of the frame."""

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
    """Five points in frame pixels. ``right`` is the right of the person, so the left of the picture."""

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

    Names of ISO/IEC 29794-5, no conformance claimed. Formulas: ``vision/quality.py``, ``vision/cover.py``.
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
    face_luma: float = 50.0  # no score: percent of white; too dark, too bright, or light behind the payer
    background_luma: float = 50.0  # no score: percent of white
    eyes_visible: float = 100.0  # this and the next one: only of a face that passes all other limits
    mouth_occlusion_prevention: float = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A face that is good enough to send. Holds its frame until the crop is made; nothing is encoded yet."""

    frame: Frame
    face: Detection
    quality: Quality
    track: int  # track number: constant while the tracker finds the same face
    others: tuple[Detection, ...] = ()  # bystanders in the same frame; the crop blanks them
    evidence: tuple[object, ...] = field(default=(), repr=False)  # appearances of a challenge, to be compared
    paths: tuple[TurnPath, ...] = ()  # of the turns of a challenge


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result for one frame. ``shot`` is set exactly when ``reason`` is SHOT."""

    frame_seq: int
    captured_ms: int
    reason: FrameReason
    face: Detection | None = None  # of the payer
    track: int | None = None
    quality: Quality | None = None
    shot: Shot | None = None
    hint: Guidance | None = None  # a hint from the geometry, such as the direction to move
    others: tuple[Detection, ...] = ()  # all other detected faces; a followed frame contains none
    frame_width_px: int = 0
    frame_height_px: int = 0
    continuity: Continuity = Continuity.UNKNOWN  # with a face and without a track, a later frame may decide
    similarity: float | None = None  # -1 to 1, to the first shot of the track; None: no embedding was needed
    appearance: object = field(default=None, repr=False, compare=False)  # aligned face, for a challenge only


@dataclass(frozen=True, slots=True)
class Crop:
    """The encoded face: the only pixels that leave the process."""

    jpeg: bytes = field(repr=False)
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Reference:
    """The enrolled photo to compare with: exactly one of ``url`` and ``image``; ``sha256`` of the bytes."""

    url: str | None = None
    image: bytes | None = field(default=None, repr=False)
    sha256: str | None = None  # lower-case hex


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer of the API to one call."""

    similarity: float  # 0–100 in a valid answer; the core checks the range, so NaN is possible here
    threshold: float  # of the provider; scales differ between providers
    provider: str
    session_id: str = ""
    code: int = 0  # of the API
    sign_ms: int = 0
    connect_ms: int = 0
    api_ms: int = 0  # from the request on the wire to the complete answer


@dataclass(frozen=True, slots=True)
class Request:
    """One parsed request of a till. ``payload_sha256`` is the hash of the MQTT payload as received."""

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
    age_ms: int | None = None  # from the send time in the request to the arrival; None: unknown
    expires: bool = False  # the broker reported a message expiry that is not longer than ``ttl_ms``

    @property
    def deadline_ms(self) -> int:
        """The deadline of the till. The deadline of the core is earlier by the publish margin."""
        return self.received_ms + self.budget_ms


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations of one verification, in ms: sums over all API calls, including calls that timed out."""

    wait_face: int = 0
    hold: int = 0
    encode: int = 0
    sign: int = 0
    connect: int = 0
    api: int = 0
    total: int = 0


Liveness = Literal["passed", "failed", "not_checked"]
LivenessCheck = Literal["motion", "identity", "passive"]


@dataclass(frozen=True, slots=True)
class Assurance:
    """The checks behind a result. ``not_checked`` never counts as ``passed``."""

    liveness: Liveness = "not_checked"
    liveness_checks: tuple[LivenessCheck, ...] = ()  # in use; in a result: passed
    camera: str = ""
    transport: str = ""
    policy_sha256: str = ""
    accepted_risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one accepted request. Exactly one is published."""

    request: Request
    decision: Decision
    reason: Reason
    asks: int  # API calls that were started; the message has those that were sent, too: ``calls``
    comparison: Comparison | None
    timings: Timings
    assurance: Assurance
    api_code: int | None = None
    calls: int = 0  # requests that were sent to the API and may be paid; at most ``asks``
