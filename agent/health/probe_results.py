"""What one look at a part tells, for whoever asks how a terminal does: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelProbe:
    """The detector ran on the shipped portrait of one person."""

    faces: int
    spent_ms: int


@dataclass(frozen=True, slots=True)
class CameraProbe:
    """A few seconds of the configured camera. Brightness 0–255, sharpness 0–100, of the newest frame."""

    frames: int
    fps: float
    mean_luma: float
    sharpness: float
    frozen: bool


@dataclass(frozen=True, slots=True)
class BrokerProbe:
    """One connection to the broker: each step only when the one before it went well."""

    connected: bool
    refused: str = ""  # by the broker, at CONNECT: the code of the condition
    reason: str = ""  # the broker's own reason for that
    deaf: bool = False  # a subscription was refused
    publish_error: str = ""
    echo_ms: int | None = None  # None: what was published did not come back
    will_heard: bool = False  # of a connection that was cut


@dataclass(frozen=True, slots=True)
class CertificateProbe:
    """A certificate's subject (common name, printable, empty when it has none) and times, unix seconds."""

    name: str
    begins_unix_s: int
    ends_unix_s: int


@dataclass(frozen=True, slots=True)
class OutboxProbe:
    """The outbox file, read without changing it. ``damage`` is empty when it is whole."""

    depth: int
    oldest_open_unix_ms: int | None
    damage: str = ""
    set_aside: int = 0  # damaged files of earlier days beside it


@dataclass(frozen=True, slots=True)
class LensReading:
    """One frame seen as a lens: how sharp its middle is, how its light is spread. No face is looked for."""

    sharpness: float  # 0–100; only larger and smaller mean something: it depends on what stands there
    mean_luma: float  # 0–255
    dark_share: float  # of the pixels, 0–1: too dark to hold detail
    bright_share: float  # of the pixels, 0–1: burnt out
    levels: tuple[float, ...]  # shares of the pixels, 0–1, in 32 equal steps from black to white
    told: Mapping[str, float] = field(default_factory=dict)  # as in ``Frame``: often empty
