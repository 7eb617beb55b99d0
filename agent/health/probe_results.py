"""Results of single probes of a terminal's parts, for doctor and status: plain values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.texts import Text


@dataclass(frozen=True, slots=True)
class ModelProbe:
    """One run of the detector on the shipped portrait of one person."""

    faces: int
    spent_ms: int
    detection_ms: float = math.nan  # one detection in a frame of the usual size; NaN: not measured


@dataclass(frozen=True, slots=True)
class MountingReading:
    """One frame, searched for faces in four rotations of the picture. No pixels."""

    sharpness: float = 0.0  # 0–100, of the whole picture
    rotation: int | None = None  # degrees clockwise that turn the largest face upright; None: no face
    face_width_px: float = 0.0  # of that face; 0 without a face
    face_fraction: float = 0.0  # height of that face as a share of the height of the turned picture
    face_sharpness: float | None = None  # 0–100, as ``policy.min_sharpness``; None without an upright face


@dataclass(frozen=True, slots=True)
class CameraProbe:
    """A few seconds of the configured camera. Luma 0–255 and mounting of the newest frame."""

    frames: int
    fps: float
    mean_luma: float
    mounting: MountingReading
    frozen: bool


@dataclass(frozen=True, slots=True)
class BrokerProbe:
    """One connection to the broker. Each step runs only after the previous step succeeded."""

    connected: bool
    refused: str = ""  # at CONNECT: the code of the condition
    reason: str | Text = ""  # the reason code of the broker
    subscription_refused: bool = False
    publish_error: str | Text = ""
    roundtrip_ms: int | None = None  # None: the published message was not received
    will_received: bool = False  # the last will of an aborted connection


@dataclass(frozen=True, slots=True)
class CertificateProbe:
    """A certificate's common name (printable, empty without a name) and times in unix seconds."""

    name: str
    begins_unix_s: int
    ends_unix_s: int


@dataclass(frozen=True, slots=True)
class SigningKeyProbe:
    """The terminal's key in the state directory."""

    path: Path
    # fingerprints: of the key in the file and, after a rotation, of the key before; empty: no file
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutboxProbe:
    """The outbox file, read without a change. ``damage`` is empty for an intact file."""

    depth: int
    oldest_open_unix_ms: int | None
    damage: str | Text = ""
    set_aside: int = 0  # earlier damaged files in the same folder


@dataclass(frozen=True, slots=True)
class LensReading:
    """Focus and light of one frame: sharpness of its centre, distribution of its luma. No face detection."""

    sharpness: float  # 0–100; depends on the scene, so compare only values of one scene
    mean_luma: float  # 0–255
    dark_share: float  # share of pixels, 0–1, too dark for detail
    bright_share: float  # share of pixels, 0–1, overexposed
    levels: tuple[float, ...]  # shares of pixels, 0–1, in 32 equal steps from black to white
    metadata: Mapping[str, float] = field(default_factory=dict)  # of the camera, as in ``Frame``; often empty
