"""Backends for video files (rate of ``camera.fps``) and live streams (rate of the sender), with OpenCV."""

from pathlib import Path

import cv2

from agent.camera.backend import Remedies, TimedBackend
from agent.camera.fitting import Pixels, fit_to_size
from agent.camera.video_reader import VideoReader
from agent.config import CameraConfig
from agent.config.stream_url import TLS_SCHEMES, StreamUrl
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError, ConfigError, Retry, failure_at
from agent.texts import Text

_OPEN_TIMEOUT_MS = 5_000
GAP_MS = 500.0  # and at least three periods: after such a wait, older frames arrive in a burst
DROPPED_MAX = 150  # then frames are used: the sender has no steady rate, so its delay cannot be measured
_FPS_MIN, _FPS_MAX, _FPS_DEFAULT = 5.0, 60.0, 25.0


class VideoFileBackend(TimedBackend):
    """A video file; one frame of the file per frame period of ``camera.fps``."""

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self._reader = VideoReader()

    def open(self) -> None:
        """Raises ``CameraError`` when the file is missing or no video."""
        source = self._config.source
        if not Path(source).is_file():
            raise CameraError(
                Text("detail.no_such_file", source=source), fix=Text("fix.correct_camera_source")
            )
        if not self._reader.open(source, cv2.CAP_FFMPEG):
            raise CameraError(Text("detail.not_a_video", source=source), fix=Text("fix.convert_video"))
        super().open()

    def close(self) -> None:
        super().close()
        self._reader.close()

    def _picture(self, _number: int) -> Pixels:
        """Raises ``CameraError`` at the end (unless ``camera.loop``) and for a file without a frame."""
        source, picture = self._config.source, self._reader.read()
        if picture is None and self._config.loop:
            self._reader.open(source, cv2.CAP_FFMPEG)
            picture = self._reader.read()
        if picture is None:
            raise CameraError(Text("detail.no_more_frames", source=source), fix=Text("fix.set_camera_loop"))
        return fit_to_size(picture, self._config.width_px, self._config.height_px, source)


class StaleFrameFilter:
    """The filter that drops the stale frames of one newly opened stream. Pure: each wait is data.

    The timestamps of a stream are not on this machine's clock. After a network pause and after opening, a
    stream delivers older frames in a burst, without a wait between frames. A stale frame can show an earlier
    person in place of the payer. So frames are dropped until a frame is waited for again.
    """

    def __init__(self, reported_fps: float) -> None:
        """``reported_fps``: the rate in the stream's own header; outside 5 to 60 it counts as 25."""
        fps = reported_fps if _FPS_MIN <= reported_fps <= _FPS_MAX else _FPS_DEFAULT
        self._period_ms = 1e3 / fps
        self._is_behind = True
        self._dropped = 0

    def is_live(self, waited_ms: float) -> bool:
        """Whether to use the frame that took ``waited_ms`` to arrive."""
        if waited_ms >= max(GAP_MS, 3 * self._period_ms):
            self._is_behind, self._dropped = True, 0
            return False  # sent before the pause
        if self._is_behind and waited_ms < self._period_ms / 2 and self._dropped < DROPPED_MAX:
            self._dropped += 1
            return False
        self._is_behind = False
        return True


class StreamBackend:
    """A live stream (``rtsps://``, ``https://`` …). A lost stream is opened again after a pause.

    With ``camera.ca_file`` the certificate of the camera is verified. The address is read once, so that the
    opened address is the address that the profile check has accepted.
    """

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        """Raises ``ConfigError``: ``camera.source_file`` is unreadable or contains no stream address."""
        self._config = config
        self._clock = clock
        try:
            self._url = config.stream_url()
        except (OSError, ValueError) as error:
            raise ConfigError(failure_at(f"camera.source_file: {config.source_file}", error)) from error
        self._reader = VideoReader(_options(self._url, config))
        self._stale_frames = StaleFrameFilter(0.0)
        self._name = self._url.host  # the address can hold a password
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError``: no answer within 5 s, or a certificate that is not trusted."""
        opening, reading = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC
        timeouts = (opening, _OPEN_TIMEOUT_MS, reading, self._config.stall_ms)
        if not self._reader.open(self._url.text, cv2.CAP_FFMPEG, *timeouts):
            raise self._stream_error("detail.stream_not_opened")
        self._stale_frames = StaleFrameFilter(
            self._reader.use(lambda capture: capture.get(cv2.CAP_PROP_FPS)) or 0.0
        )

    def grab(self) -> Frame:
        """The next live frame; stale frames are dropped (``StaleFrameFilter``).

        Raises ``CameraError`` when no frame comes within ``camera.stall_ms``.
        """
        while True:
            began_ms = self._clock.now_ms()
            picture = self._reader.read()
            now_ms = self._clock.now_ms()
            if picture is None:
                raise self._stream_error("detail.stream_silent")
            if self._stale_frames.is_live(now_ms - began_ms):
                self._seq += 1
                size = (self._config.width_px, self._config.height_px)
                return Frame(fit_to_size(picture, *size, self._name), self._seq, now_ms, *size)

    def close(self) -> None:
        self._reader.close()

    def _stream_error(self, detail: str) -> CameraError:
        verified = self._config.ca_file is not None
        fix = Text("fix.stream_unreachable_verified" if verified else "fix.stream_unreachable")
        return CameraError(Text(detail, name=self._name), fix=fix, retry=Retry.BACKOFF)


def _options(url: StreamUrl, config: CameraConfig) -> dict[str, str]:
    """FFmpeg's options: TCP first, as OpenCV's own default; with a CA, verified connections only.

    The white list prevents a redirect and RTP over UDP from leaving the verified connection.
    """
    options = {"rtsp_flags": "prefer_tcp"}
    if config.ca_file is not None and url.scheme in TLS_SCHEMES:
        protocols = "https,tls,tcp" if url.scheme == "https" else "tls,tcp"
        options |= {"tls_verify": "1", "ca_file": str(config.ca_file), "protocol_whitelist": protocols}
    return options
