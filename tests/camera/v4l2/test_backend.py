"""The V4L2 backend on fakes of the kernel and of OpenCV; test_vivid.py uses the real ones."""

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
from agent.camera.v4l2.backend import V4l2Backend
from agent.camera.v4l2.devices import Devices, VideoDevice
from agent.camera.video_reader import VideoReader
from agent.cli import init_questions
from agent.config import CameraConfig
from agent.errors import CameraError, Retry
from agent.health.conditions import CONDITIONS
from agent.root.cameras import make_camera
from tests.camera.clock import RunningClock
from tests.texts import en, zh

T = TypeVar("T")
MJPG = cv2.VideoWriter.fourcc(*"MJPG")
SIZE = {"width_px": 640, "height_px": 360}


class Plugged(VideoReader):
    """A fake of OpenCV's capture: rounds the requested properties, and stamps its buffers.

    ``ages_ms``: ages of the waiting buffers, oldest first; then fresh buffers follow. As in OpenCV,
    ``retrieve`` returns the previous picture when no new buffer was taken.
    """

    def __init__(self, **given: float) -> None:
        super().__init__()
        self.given = {"width": 640.0, "height": 360.0, "fps": 30.0, "fourcc": float(MJPG), **given}
        self.ages_ms: list[int] = []
        self.broken = 0  # pictures that cannot be decoded
        self.decode_s = 0.0
        self.gone = self.silent = False
        self.stamps_ms = 0  # added to each stamp: another clock
        self.requested: dict[int, float] = {}
        self._stamp_ms = 0.0
        self._pending = False

    def open(self, source: str, backend: int, *options: int) -> bool:
        assert backend == cv2.CAP_V4L2
        self._closing.clear()
        return True

    def use(self, work: Callable[[cv2.VideoCapture], T]) -> T | None:
        return None if self.is_closing else work(cast(cv2.VideoCapture, self))

    def wait_any(self, streams: list[object], timeout_ns: int) -> tuple[bool, list[int]]:
        """Takes a buffer, unless the previous buffer was not retrieved."""
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
        self.requested[name] = value
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
    """One USB port whose state changes while the agent runs. ``errno``: the kernel's error, 0 without."""

    def __init__(self) -> None:
        super().__init__()
        self.errno = 0

    def examine(self, name: str) -> VideoDevice:
        if self.errno:
            raise from_os_error(name, OSError(self.errno, os.strerror(self.errno)))
        return VideoDevice(name, "USB camera", is_usb=True)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Plugged:
    made = Plugged()
    monkeypatch.setattr(cv2.VideoCapture, "waitAny", made.wait_any)
    return made


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def backend(reader: Plugged, port: Port) -> V4l2Backend:
    config = CameraConfig.model_validate({"kind": "v4l2", "source": "/dev/v4l/by-id/cam", **SIZE})
    return V4l2Backend(config, RunningClock(), port, reader)


def age_ms(backend: V4l2Backend) -> int:
    frame = backend.grab()
    return RunningClock().now_ms() - frame.captured_ms


def test_open_requests_mjpg_and_the_configured_format(backend: V4l2Backend, reader: Plugged) -> None:
    backend.open()
    assert reader.requested[cv2.CAP_PROP_FOURCC] == MJPG
    assert (reader.requested[cv2.CAP_PROP_FRAME_WIDTH], reader.requested[cv2.CAP_PROP_FRAME_HEIGHT]) == (
        640,
        360,
    )
    frame = backend.grab()
    assert (frame.seq, frame.width_px, frame.height_px) == (1, 640, 360)


def test_grab_capture_time_follows_the_stamp(backend: V4l2Backend, reader: Plugged) -> None:
    backend.open()
    reader.ages_ms = [100]
    assert 90 <= age_ms(backend) < 1_000


def test_grab_slow_decoder_does_not_change_the_capture_time(backend: V4l2Backend, reader: Plugged) -> None:
    """Otherwise a face from before the request counts as a face after the request."""
    backend.open()
    reader.ages_ms, reader.decode_s = [100], 0.3
    assert age_ms(backend) >= 390


def test_grab_old_buffers_after_a_busy_start_do_not_identify_the_clock(
    backend: V4l2Backend, reader: Plugged
) -> None:
    backend.open()
    reader.ages_ms = [6_000, 5_900, 100]
    assert 90 <= age_ms(backend) < 1_000
    reader.ages_ms = [140]
    assert age_ms(backend) >= 130, "the stamps count from now on"


def test_grab_buffers_that_have_waited_are_skipped(backend: V4l2Backend, reader: Plugged) -> None:
    backend.open()
    backend.grab()
    reader.ages_ms = [1_900, 1_800]
    assert age_ms(backend) < 1_000
    assert reader.ages_ms == []


def test_grab_camera_with_old_frames_only_is_stalled(backend: V4l2Backend, reader: Plugged) -> None:
    backend.open()
    backend.grab()
    reader.ages_ms = [60_000] * 5
    with pytest.raises(CameraError, match=r"its frames are (59|60)\d{3} ms old") as caught:
        backend.grab()
    assert caught.value.code == "camera_stalled"


def test_grab_stamps_of_another_clock_are_ignored(backend: V4l2Backend, reader: Plugged) -> None:
    reader.stamps_ms = 1_700_000_000_000
    backend.open()
    assert age_ms(backend) < 1_000


def test_grab_unplugged_camera_raises_at_once_and_returns_no_old_picture(
    backend: V4l2Backend, reader: Plugged, port: Port
) -> None:
    backend.open()
    backend.grab()
    reader.gone = True
    port.errno = errno.ENOENT
    with pytest.raises(CameraError, match="the stream ended") as caught:
        backend.grab()
    assert caught.value.retry is Retry.BACKOFF
    backend.close()
    with pytest.raises(CameraError) as absent:
        backend.open()
    assert absent.value.code == "camera_absent"
    reader.gone, port.errno = False, 0
    backend.open()
    assert backend.grab().seq == 2, "the same camera by its stable name; numbers continue"


def test_a_silent_camera_ends_the_wait(reader: Plugged, port: Port) -> None:
    config = CameraConfig.model_validate({"kind": "v4l2", "source": "/dev/video0", "stall_ms": 1_000, **SIZE})
    backend = V4l2Backend(config, RunningClock(), port, reader)
    backend.open()
    reader.silent = True
    with pytest.raises(CameraError, match="no picture for 1000 ms") as caught:
        backend.grab()
    assert caught.value.code == "camera_stalled"


def test_grab_broken_picture_is_skipped_and_a_broken_cable_raises(
    backend: V4l2Backend, reader: Plugged
) -> None:
    backend.open()
    reader.broken = 3
    assert backend.grab().seq == 1
    reader.broken = 100
    with pytest.raises(CameraError, match="10 broken pictures in a row"):
        backend.grab()


def test_open_other_size_than_configured_is_refused_with_the_config_lines(
    backend: V4l2Backend, reader: Plugged
) -> None:
    reader.given["height"] = 480.0
    with pytest.raises(CameraError, match="delivers 640×480, not 640×360") as caught:
        backend.open()
    assert "camera.height_px = 480" in en(caught.value.fix) and "480" in zh(caught.value.fix)


def test_open_lower_rate_than_configured_is_logged_and_used(
    backend: V4l2Backend, reader: Plugged, caplog: pytest.LogCaptureFixture
) -> None:
    reader.given["fps"] = 5.0
    backend.open()
    assert "camera_slow" in caplog.text
    backend.grab()


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
def test_open_each_kernel_error_has_a_code_and_a_fix(
    backend: V4l2Backend, port: Port, number: int, code: str
) -> None:
    port.errno = number
    with pytest.raises(CameraError) as caught:
        backend.open()
    error = caught.value
    assert (error.code, error.fix, zh(error.fix)) == (code, CONDITIONS[code].fix, zh(CONDITIONS[code].fix))
    assert error.retry is Retry.BACKOFF


def test_open_busy_camera_works_after_its_release(backend: V4l2Backend, port: Port) -> None:
    port.errno = errno.EBUSY
    with pytest.raises(CameraError):
        backend.open()
    port.errno = 0
    backend.open()
    assert backend.grab().seq == 1


# --- names ----------------------------------------------------------------------------------------


class Bus(Devices):
    """A /dev whose device nodes are plain files; ``nodes``: the device for each node's name."""

    def __init__(self, root: Path, **nodes: VideoDevice) -> None:
        super().__init__(root)
        self.nodes = nodes

    def examine_node(self, name: str) -> VideoDevice:
        device = self.nodes.get(Path(name).resolve().name)
        if device is None:
            raise CameraError("no device that captures video")
        return VideoDevice(name, device.card, device.is_usb)


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
    one = bus(tmp_path, monkeypatch, video0=VideoDevice("usb-cam-index0", "Cam", is_usb=True))
    assert one.only_camera() == str(tmp_path / "dev/v4l/by-id/usb-cam-index0")


def test_several_cameras_are_named_for_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = bus(
        tmp_path,
        monkeypatch,
        video0=VideoDevice("usb-left", "Left", is_usb=True),
        video2=VideoDevice("usb-right", "Right", is_usb=True),
        video14=VideoDevice("", "bcm2835-isp", is_usb=False),
    )
    with pytest.raises(CameraError, match="several cameras") as caught:
        two.only_camera()
    message = str(caught.value)
    assert "by-id/usb-left (Left)" in message and "usb-right (Right)" in message and "isp" not in message
    assert "camera.source" in en(caught.value.fix)


def twins(root: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    """Two cameras with one serial number, each with a second node for metadata; udev's link by id is one."""
    nodes = {f"video{number}": VideoDevice("", "HD Cam", is_usb=True) for number in (0, 2)}
    made = bus(
        root, monkeypatch, **nodes, video4=VideoDevice("usb-Other_Cam_77-video-index0", "Other", is_usb=True)
    )
    by_id, by_path = root / "dev/v4l/by-id", root / "dev/v4l/by-path"
    by_path.mkdir(parents=True)
    for number in range(5):
        node = f"video{number}"
        (root / "dev" / node).touch()
        port, index = number // 2 + 1, number % 2
        (by_path / f"pci-0000:00:14.0-usb-0:{port}:1.0-video-index{index}").symlink_to(f"../../{node}")
        (by_path / f"pci-0000:00:14.0-usbv2-0:{port}:1.0-video-index{index}").symlink_to(f"../../{node}")
        facts = root / "sys/class/video4linux" / node
        facts.mkdir(parents=True)
        (facts / "name").write_text("Other\n" if number == 4 else "HD Cam\n")
        (facts / "index").write_text(f"{index}\n")
    for index in range(2):
        (by_id / f"usb-HD_Cam_0001-video-index{index}").symlink_to(f"../../video{2 + index}")
    return made


def test_two_cameras_with_one_serial_are_offered_by_their_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [Path(device.name).name for device in twins(tmp_path, monkeypatch).cameras()]
    assert names == [
        "pci-0000:00:14.0-usb-0:1:1.0-video-index0",
        "pci-0000:00:14.0-usb-0:2:1.0-video-index0",
        "usb-Other_Cam_77-video-index0",
    ], "the other model has an id of its own"


def test_one_camera_of_two_with_one_serial_is_found_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = twins(tmp_path, monkeypatch)
    for path in [
        *(tmp_path / "dev/v4l/by-path").glob("*-0:[13]:*"),
        tmp_path / "dev/video0",
        tmp_path / "dev/video4",
    ]:
        path.unlink()
    assert Path(left.only_camera()).name == "usb-HD_Cam_0001-video-index0"


def test_init_prints_several_cameras_and_takes_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = twins(tmp_path, monkeypatch)
    monkeypatch.setattr("agent.camera.v4l2.devices.Devices", lambda: found)
    assert init_questions._camera_here() == ""
    printed = capsys.readouterr().out
    assert "usb-0:1:1.0-video-index0" in printed and "usb-0:2:1.0-video-index0" in printed
    for node in ("video0", "video4"):
        (tmp_path / "dev" / node).unlink()
    found.nodes = {"video2": found.nodes["video2"]}
    assert init_questions._camera_here().startswith("v4l2:")


def test_only_without_a_device_is_camera_absent(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        Devices(tmp_path).only_camera()
    assert caught.value.code == "camera_absent"


def test_examine_device_that_is_no_camera_is_refused(tmp_path: Path) -> None:
    """With the real ioctl, on a device without V4L2."""
    with pytest.raises(CameraError) as caught:
        Devices().examine("/dev/null")
    assert caught.value.code == "camera_unavailable"
    with pytest.raises(CameraError) as gone:
        Devices().examine(str(tmp_path / "video0"))
    assert gone.value.code == "camera_absent"


def test_the_factory_makes_one() -> None:
    camera = make_camera(CameraConfig.model_validate({"kind": "v4l2"}), RunningClock())
    assert isinstance(camera._backend, V4l2Backend)
