"""The config sections of camera, vision, policy and verification. Rules: ``config/__init__.py``."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from agent.config.file import FilePath, Fraction, Ms, Percent, Secret, Section
from agent.config.stream_url import MAX_CHARS, StreamUrl, parse
from agent.errors import WrongValueError
from agent.safe_open import read_plain
from agent.texts import Text

# A measure that no face of a camera brings to 100.
Reachable = Annotated[float, Field(ge=0, le=95)]


class CameraConfig(Section):
    kind: Literal["replay", "picamera2", "v4l2", "stream"] = "replay"
    # replay: stills directory, video file or scene .toml; v4l2: device; stream: url; picamera2: which
    source: Annotated[str, Secret.URL] = ""
    source_file: Annotated[FilePath | None, Secret.FILE] = None  # stream: the url, where it holds a password
    ca_file: FilePath | None = None  # stream: the CA of the camera's certificate; unset: no verification
    width_px: Annotated[int, Field(ge=64, le=4096)] = 1280
    height_px: Annotated[int, Field(ge=64, le=4096)] = 720
    fps: Annotated[float, Field(gt=0, le=60)] = 10.0
    rotation: Literal[0, 90, 180, 270] = 0  # clockwise, so that faces are upright
    # exchange left and right, after the rotation: for a camera that delivers a mirror image
    mirror: bool = False
    stall_ms: Ms = 2_000  # no new frame for this time: camera_stalled
    loop: bool = True  # replay: start over at the end
    seed: int = 1  # replay: noise and jitter of scenes

    @field_validator("source")
    @classmethod
    def _check_stream_address(cls, source: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "stream" and source:
            parse(source)
        return source

    @model_validator(mode="after")
    def _check_stream_source(self) -> Self:
        if self.kind != "stream":
            if self.source_file is not None or self.ca_file is not None:
                raise WrongValueError(Text("detail.stream_only"))
        elif bool(self.source) == (self.source_file is not None):
            raise WrongValueError(Text("detail.stream_source"))
        return self

    def stream_url(self) -> StreamUrl:
        """The address of the stream, from ``source`` or ``source_file``.

        Raises:
            OSError: ``source_file`` cannot be read.
            ValueError: ``source_file`` contains no stream address; the message does not quote it.
        """
        if self.source_file is None:
            return parse(self.source)
        try:
            text = read_plain(self.source_file, MAX_CHARS * 4, links=True).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise WrongValueError(Text("detail.not_utf8")) from None
        return parse(text.strip())


class VisionConfig(Section):
    detector_model: FilePath | None = None  # default: the file inside the registry package
    # of a frame's longer side; half of it on a slow machine, where a side of a wide frame is 33 px at least
    detector_width_px: Annotated[int, Field(ge=120, le=1280)] = 320
    adapt: bool = True  # a slow machine gets a smaller width and rate, see core/pace.py; false: as configured
    confidence: Annotated[float, Field(ge=0, le=0.99)] = 0.7  # no detection reaches 1
    threads: Annotated[int, Field(ge=1, le=8)] = 1
    crop_max_bytes: Annotated[int, Field(ge=8_192, le=61_440)] = 61_440
    crop_margin: Annotated[float, Field(ge=0.1, le=1.0)] = 0.4  # of the face box, on each side


class PolicyConfig(Section):
    """Which face counts and when it is sent. Quality measures are 0–100, see vision/quality.py."""

    zone_left: Fraction = 0.15  # payer zone, fractions of the frame: the face's centre must lie inside
    zone_right: Fraction = 0.85
    zone_top: Fraction = 0.0
    zone_bottom: Fraction = 1.0
    dominance: Annotated[float, Field(ge=1.0)] = 2.0  # area ratio from which only the largest face counts
    min_face_px: Annotated[int, Field(ge=40, le=4096)] = (
        100  # the API's own minimum, see the compare contract
    )
    max_face_fraction: Fraction = 0.9  # of the frame's height
    min_head_pose_yaw: Reachable = 50
    min_head_pose_pitch: Reachable = 30
    min_head_pose_roll: Reachable = 50
    min_inter_eye_distance: Percent = 50
    min_under_exposure_prevention: Percent = 30
    min_over_exposure_prevention: Percent = 30
    min_dynamic_range: Percent = 20
    min_illumination_uniformity: Percent = 30
    min_sharpness: Reachable = 30
    min_crop_margins: Percent = 0
    min_eyes_visible: Percent = 50
    min_mouth_occlusion_prevention: Percent = 50
    excellent_score: Percent = 80  # ends the hold as soon as a second frame confirms the track

    @model_validator(mode="after")
    def _check_zone(self) -> Self:
        if self.zone_left >= self.zone_right or self.zone_top >= self.zone_bottom:
            raise WrongValueError(Text("detail.zone_empty"))
        return self


class VerificationConfig(Section):
    budget_ms: Annotated[int, Field(ge=1_000, le=60_000)] = 8_000  # maximum; a till may request less
    publish_margin_ms: Ms = 250  # the core decides this long before the till's deadline
    hold_ms: Ms = 600  # how long to wait for a better shot
    # at least ``core.verification_types.Limits.min_ask_ms``: the API needs 200 ms
    ask_timeout_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 2_500
    retry_pause_ms: Ms = 400
    max_asks: Annotated[int, Field(ge=1, le=10)] = 3

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        needed = self.hold_ms + self.publish_margin_ms
        if needed >= self.budget_ms:
            raise WrongValueError(Text("detail.budget_short", needed=needed))
        return self


class VetoConfig(Section):
    """An external liveness model: it can refuse a shot, never accept one. See vision/external_liveness.py."""

    model: FilePath  # ONNX
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    input_px: Annotated[int, Field(ge=32, le=512)] = 80
    scale: Annotated[float, Field(ge=1.0, le=4.0)] = 2.7  # of the face box's longer side
    live_class: Annotated[int, Field(ge=0, le=99)] = 1  # index of the output for "live"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5


class LivenessConfig(Section):
    """The checks before an API call: core/challenge.py, vision/passive, vision/external_liveness.py."""

    mode: Literal["off", "challenge"] = "off"
    turns: Annotated[int, Field(ge=1, le=3)] = 2
    shading: bool = False  # vision/turn_shading.py
    passive: Literal["off", "minifasnet"] = "off"  # imported by `facepay liveness import`
    passive_threshold: Annotated[float, Field(ge=0.5, lt=1)] = 0.5  # least mean score of a living face
    veto: VetoConfig | None = None

    @field_validator("shading")
    @classmethod
    def _check_shading(cls, shading: bool, info: ValidationInfo) -> bool:
        """Without a challenge no turn exists, so the check would accept every shot."""
        if shading and info.data.get("mode") == "off":
            raise WrongValueError(Text("detail.shading_without_challenge"))
        return shading
