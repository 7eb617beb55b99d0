"""A USB camera behind fakes that behave as the kernel and OpenCV do; the real ones: test_vivid.py."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
import pytest

from agent.camera.errors import from_os_error
from agent.camera.reader import Reader
from agent.camera.v4l2.backend import V4l2Backend
from agent.camera.v4l2.devices import Devices, VideoDevice
from agent.config import CameraConfig
from agent.errors import CameraError, Retry
from agent.health.conditions import CONDITIONS
from agent.root.cameras import make_camera
from tests.camera.clock import RunningClock
from tests.texts import en, zh

T = TypeVar("T")
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
SIZE = {"width_px": 640, "height_px": 360}


class Plugged(Reader):
    """A camera as OpenCV shows it: it rounds what it is asked for, and stamps what it hands out.

    ``ages_ms``: of the buffers that wait, oldest first; when they are used up a fresh one comes. Like
    OpenCV's, ``retrieve`` hands out the picture of before when nothing new was taken.
    """

    def __init__(self, **given: float) -> None:
        super().__init__()
        self.given = {"width": 640.0, "height": 360.0, "fps": 30.0, "fourcc": float(MJPG), **given}
        self.ages_ms: list[int] = []
        self.broken = 0  # pictures that cannot be decoded
        self.decode_s = 0.0
        self.gone = self.silent = False
        self.stamps_ms = 0  # added to each stamp: another clock
        self.asked: dict[int, float] = {}
        self._stamp_ms = 0.0
        self._pending = False

    def open(self, source: str, backend: int, *options: int) -> bool:
        assert backend == cv2.CAP_V4L2
        self._closing.clear()
        return True

    def use(self, work: Callable[[cv2.VideoCapture], T]) -> T | None:
        return None if self.closing else work(cast(cv2.VideoCapture, self))

    def wait_any(self, streams: list[object], timeout_ns: int) -> tuple[bool, list[int]]:
        """Takes a buffer, unless one that was not retrieved is still in the hand."""
        if self.gone:
            raise cv2.error("Error is reported for camera stream")
        if self.silent:
            return False, []
        if not self._pending:
            age_ms = self.ages_ms.pop(0) if self.ages_ms else 5
            self._stamp_ms = time.monotonic() * 1e3 - age_ms + self.stamps_ms
            self._pending = True
        return True, [0]

    def retrieve(self) -> tuple[bool, object]:
        self._pending = False
        time.sleep(self.decode_s)
        if self.broken:
            self.broken -= 1
            return False, None
        return True, np.full((360, 640, 3), 90, np.uint8)

    def set(self, name: int, value: float) -> bool:
        self.asked[name] = value
        return True

    def get(self, name: int) -> float:
        return {
            cv2.CAP_PROP_FRAME_WIDTH: self.given["width"],
            cv2.CAP_PROP_FRAME_HEIGHT: self.given["height"],
            cv2.CAP_PROP_FPS: self.given["fps"],
            cv2.CAP_PROP_FOURCC: self.given["fourcc"],
            cv2.CAP_PROP_POS_MSEC: self._stamp_ms,
        }[name]


class Port(Devices):
    """One USB port: what the kernel says of it changes while the agent runs."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble = 0

    def examine(self, name: str) -> VideoDevice:
        if self.trouble:
            raise from_os_error(name, OSError(self.trouble, os.strerror(self.trouble)))
        return VideoDevice(name, "USB camera", usb=True)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Plugged:
    made = Plugged()
    monkeypatch.setattr(cv2.VideoCapture, "waitAny", made.wait_any)
    return made


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def grabber(reader: Plugged, port: Port) -> V4l2Backend:
    config = CameraConfig.model_validate({"kind": "v4l2", "source": "/dev/v4l/by-id/cam", **SIZE})
    return V4l2Backend(config, RunningClock(), port, reader)


def age_ms(grabber: V4l2Backend) -> int:
    frame = grabber.grab()
    return RunningClock().now_ms() - frame.captured_ms


def test_mjpg_and_the_configured_format_are_asked_for(grabber: V4l2Backend, reader: Plugged) -> None:
    grabber.open()
    assert reader.asked[cv2.CAP_PROP_FOURCC] == MJPG
    assert (reader.asked[cv2.CAP_PROP_FRAME_WIDTH], reader.asked[cv2.CAP_PROP_FRAME_HEIGHT]) == (640, 360)
    frame = grabber.grab()
    assert (frame.seq, frame.width_px, frame.height_px) == (1, 640, 360)


def test_a_frame_is_as_old_as_its_stamp_says(grabber: V4l2Backend, reader: Plugged) -> None:
    grabber.open()
    reader.ages_ms = [100]
    assert 90 <= age_ms(grabber) < 1_000


def test_a_slow_decoder_makes_no_picture_newer(grabber: V4l2Backend, reader: Plugged) -> None:
    """Else a face seen before the request counts as one seen after it."""
    grabber.open()
    reader.ages_ms, reader.decode_s = [100], 0.3
    assert age_ms(grabber) >= 390


def test_buffers_that_filled_while_the_machine_was_busy_starting_say_nothing_about_the_clock(
    grabber: V4l2Backend, reader: Plugged
) -> None:
    grabber.open()
    reader.ages_ms = [6_000, 5_900, 100]
    assert 90 <= age_ms(grabber) < 1_000
    reader.ages_ms = [140]
    assert age_ms(grabber) >= 130, "and the stamps are believed from then on"


def test_buffers_that_waited_are_thrown_away(grabber: V4l2Backend, reader: Plugged) -> None:
    grabber.open()
    grabber.grab()
    reader.ages_ms = [1_900, 1_800]
    assert age_ms(grabber) < 1_000
    assert reader.ages_ms == []


def test_a_camera_that_gives_nothing_but_old_pictures_is_stalled(
    grabber: V4l2Backend, reader: Plugged
) -> None:
    grabber.open()
    grabber.grab()
    reader.ages_ms = [60_000] * 5
    with pytest.raises(CameraError, match=r"its frames are (59|60)\d{3} ms old") as caught:
        grabber.grab()
    assert caught.value.code == "camera_stalled"


def test_stamps_of_another_clock_are_not_believed(grabber: V4l2Backend, reader: Plugged) -> None:
    reader.stamps_ms = 1_700_000_000_000
    grabber.open()
    assert age_ms(grabber) < 1_000


def test_an_unplugged_camera_is_an_error_at_once_and_never_the_picture_of_before(
    grabber: V4l2Backend, reader: Plugged, port: Port
) -> None:
    grabber.open()
    grabber.grab()
    reader.gone = True
    port.trouble = errno.ENOENT
    with pytest.raises(CameraError, match="the stream ended") as caught:
        grabber.grab()
    assert caught.value.retry is Retry.BACKOFF
    grabber.close()
    with pytest.raises(CameraError) as absent:
        grabber.open()
    assert absent.value.code == "camera_absent"
    reader.gone, port.trouble = False, 0
    grabber.open()
    assert grabber.grab().seq == 2, "the same camera under its stable name; numbers go on"


def test_a_silent_camera_ends_the_wait(reader: Plugged, port: Port) -> None:
    config = CameraConfig.model_validate({"kind": "v4l2", "source": "/dev/video0", "stall_ms": 1_000, **SIZE})
    grabber = V4l2Backend(config, RunningClock(), port, reader)
    grabber.open()
    reader.silent = True
    with pytest.raises(CameraError, match="no picture for 1000 ms") as caught:
        grabber.grab()
    assert caught.value.code == "camera_stalled"


def test_a_spoilt_picture_is_skipped_and_a_spoilt_cable_is_told(
    grabber: V4l2Backend, reader: Plugged
) -> None:
    grabber.open()
    reader.broken = 3
    assert grabber.grab().seq == 1
    reader.broken = 100
    with pytest.raises(CameraError, match="10 broken pictures in a row"):
        grabber.grab()


def test_another_size_than_asked_for_is_refused_with_the_words_to_write(
    grabber: V4l2Backend, reader: Plugged
) -> None:
    reader.given["height"] = 480.0
    with pytest.raises(CameraError, match="delivers 640×480, not 640×360") as caught:
        grabber.open()
    assert "camera.height_px = 480" in en(caught.value.fix) and "480" in zh(caught.value.fix)


def test_fewer_frames_than_asked_for_are_told_and_taken(
    grabber: V4l2Backend, reader: Plugged, caplog: pytest.LogCaptureFixture
) -> None:
    reader.given["fps"] = 5.0
    grabber.open()
    assert "camera_slow" in caplog.text
    grabber.grab()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, "camera_absent"),
        (errno.ENODEV, "camera_absent"),
        (errno.EBUSY, "camera_busy"),
        (errno.EACCES, "camera_denied"),
        (errno.EPERM, "camera_denied"),
        (errno.EIO, "camera_unavailable"),
    ],
)
def test_what_the_kernel_answers_has_a_code_and_a_fix(
    grabber: V4l2Backend, port: Port, number: int, code: str
) -> None:
    port.trouble = number
    with pytest.raises(CameraError) as caught:
        grabber.open()
    error = caught.value
    assert (error.code, error.fix, zh(error.fix)) == (code, CONDITIONS[code].fix, zh(CONDITIONS[code].fix))
    assert error.retry is Retry.BACKOFF


def test_busy_at_the_start_then_freed(grabber: V4l2Backend, port: Port) -> None:
    port.trouble = errno.EBUSY
    with pytest.raises(CameraError):
        grabber.open()
    port.trouble = 0
    grabber.open()
    assert grabber.grab().seq == 1


# --- names ----------------------------------------------------------------------------------------


class Bus(Devices):
    """A /dev with device nodes that are plain files; what they are stands here, by the node's name."""

    def __init__(self, root: Path, **nodes: VideoDevice) -> None:
        super().__init__(root)
        self.nodes = nodes

    def examine_node(self, name: str) -> VideoDevice:
        device = self.nodes[Path(name).resolve().name]
        return VideoDevice(name, device.card, device.usb)


def bus(root: Path, monkeypatch: pytest.MonkeyPatch, **nodes: VideoDevice) -> Bus:
    made = Bus(root, **nodes)
    (root / "dev/v4l/by-id").mkdir(parents=True)
    for node, device in nodes.items():
        (root / "dev" / node).touch()
        if device.name:
            (root / "dev/v4l/by-id" / device.name).symlink_to(f"../../{node}")
    monkeypatch.setattr("agent.camera.v4l2.devices._examine", made.examine_node)
    return made


def test_the_only_camera_is_found_by_its_stable_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = bus(tmp_path, monkeypatch, video0=VideoDevice("usb-cam-index0", "Cam", usb=True))
    assert one.only() == str(tmp_path / "dev/v4l/by-id/usb-cam-index0")


def test_several_cameras_are_named_for_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = bus(
        tmp_path,
        monkeypatch,
        video0=VideoDevice("usb-left", "Left", usb=True),
        video2=VideoDevice("usb-right", "Right", usb=True),
        video14=VideoDevice("", "bcm2835-isp", usb=False),
    )
    with pytest.raises(CameraError, match="several cameras") as caught:
        two.only()
    said = str(caught.value)
    assert "by-id/usb-left (Left)" in said and "usb-right (Right)" in said and "isp" not in said
    assert "camera.source" in en(caught.value.fix)


def test_no_device_at_all_is_an_absent_camera(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        Devices(tmp_path).only()
    assert caught.value.code == "camera_absent"


def test_something_that_is_no_camera_is_not_opened_as_one(tmp_path: Path) -> None:
    """The real ioctl, on a device that has none of the kind."""
    with pytest.raises(CameraError) as caught:
        Devices().examine("/dev/null")
    assert caught.value.code == "camera_unavailable"
    with pytest.raises(CameraError) as gone:
        Devices().examine(str(tmp_path / "video0"))
    assert gone.value.code == "camera_absent"


def test_the_factory_makes_one() -> None:
    camera = make_camera(CameraConfig.model_validate({"kind": "v4l2"}), RunningClock())
    assert isinstance(camera._backend, V4l2Backend)
