"""Replay backends: scenes, stills and video files follow one contract; errors name the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.camera.backend import CameraBackend
from agent.camera.fitting import fit_to_size
from agent.camera.simulated import cameras
from agent.camera.simulated.cameras import SceneCamera, StillsCamera
from agent.camera.simulated.renderer import SceneRenderer
from agent.camera.simulated.scene import Scene, load_scene
from agent.camera.video import StreamBackend, VideoFileBackend
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.errors import CameraError, ConfigError, Retry
from agent.root.cameras import make_camera
from tests.camera.clock import HandClock, RunningClock, SteppingClock
from tests.texts import en

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def config(source: Path | str = "", **more: object) -> CameraConfig:
    size = {"width_px": 320, "height_px": 240, "source": str(source)}
    return CameraConfig.model_validate({**size, **more})


def pixels(frame: Frame) -> Pixels:
    assert isinstance(frame.pixels, np.ndarray)
    return frame.pixels


def write_stills(folder: Path, *levels: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number, level in enumerate(levels):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((120, 160, 3), level, np.uint8))
    return folder


def write_video(path: Path, *levels: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    assert writer.isOpened()
    for level in levels:
        writer.write(np.full((120, 160, 3), level, np.uint8))
    writer.release()
    return path


def scene_camera(_: Path, loop: bool) -> CameraBackend:
    return SceneCamera(config(loop=loop), SteppingClock(), Scene(length_ms=400))


def stills_camera(folder: Path, loop: bool) -> CameraBackend:
    return StillsCamera(
        config(write_stills(folder / "stills", 50, 200), loop=loop, fps=1), SteppingClock(500)
    )


def video_camera(folder: Path, loop: bool) -> CameraBackend:
    return VideoFileBackend(
        config(write_video(folder / "v.avi", 50, 100, 150, 200), loop=loop), SteppingClock()
    )


BACKENDS = pytest.mark.parametrize(
    "make", [scene_camera, stills_camera, video_camera], ids=["scene", "stills", "video"]
)


@BACKENDS
def test_frames_are_numbered_timed_and_of_the_configured_size(
    make: Callable[[Path, bool], CameraBackend], tmp_path: Path
) -> None:
    backend = make(tmp_path, True)
    backend.open()
    frames = [backend.grab() for _ in range(12)]
    backend.close()
    backend.open()
    frames.append(backend.grab())
    backend.close()
    assert [frame.seq for frame in frames] == list(range(1, 14)), "numbers continue after opening again"
    assert all(a.captured_ms < b.captured_ms for a, b in pairwise(frames))
    for frame in frames:
        assert pixels(frame).shape == (240, 320, 3)
        assert pixels(frame).dtype == np.uint8
        assert (frame.width_px, frame.height_px) == (320, 240)
    assert frames[0].pixels is not frames[1].pixels, "each frame has its own pixels"


@BACKENDS
def test_without_loop_a_recording_ends(make: Callable[[Path, bool], CameraBackend], tmp_path: Path) -> None:
    backend = make(tmp_path, False)
    backend.open()
    with pytest.raises(CameraError) as caught:
        for _ in range(20):
            backend.grab()
    assert caught.value.retry is Retry.NEVER
    assert "loop" in en(caught.value.fix)
    backend.close()


@BACKENDS
def test_a_closed_camera_grabs_no_more(make: Callable[[Path, bool], CameraBackend], tmp_path: Path) -> None:
    backend = make(tmp_path, True)
    backend.open()
    backend.close()
    backend.close()
    with pytest.raises(CameraError, match="closed"):
        backend.grab()


# --- scenes ---------------------------------------------------------------------------------------


def test_show_changes_the_scene() -> None:
    backend = SceneCamera(config(), SteppingClock(), Scene(light=0.2))
    backend.open()
    assert pixels(backend.grab()).mean() < 60
    backend.show(Scene(light=1.0))
    assert pixels(backend.grab()).mean() > 60
    backend.show("empty")
    backend.grab()


def test_a_scene_is_drawn_when_the_camera_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of the config only makes the camera: each cut-out of a person takes tens of milliseconds."""
    drawn = list[Scene]()

    def draw(scene: Scene, *more: Any) -> SceneRenderer:
        drawn.append(scene)
        return SceneRenderer(scene, *more)

    monkeypatch.setattr(cameras, "SceneRenderer", draw)
    scene = load_scene("one_obama_portrait")
    backend = SceneCamera(config(), SteppingClock(), scene)
    assert not drawn
    backend.open()
    assert drawn == [scene]
    backend.close()
    backend.open()
    assert drawn == [scene], "not again after a recovery"


def test_a_scene_that_cannot_be_shown_leaves_the_old_one() -> None:
    backend = SceneCamera(config(), SteppingClock(), Scene(light=0.2))
    backend.open()
    with pytest.raises(ConfigError):
        backend.show("no_such_scene")
    assert pixels(backend.grab()).mean() < 60


def test_show_scene_starts_at_its_beginning() -> None:
    """Independent of the time that the earlier scene has run."""
    scene = load_scene("one_obama_portrait")
    first = SceneCamera(config(), SteppingClock(), scene)
    first.open()
    later = SceneCamera(config(), SteppingClock(), Scene())
    later.open()
    for _ in range(7):
        later.grab()
    later.show(scene)
    assert np.array_equal(pixels(first.grab()), pixels(later.grab()))


def test_grab_late_reader_skips_missed_frames() -> None:
    clock = HandClock()
    backend = SceneCamera(config(fps=10, loop=False), clock, Scene(length_ms=1_000))
    backend.open()
    backend.grab()
    clock.at_ms += 850
    backend.grab()  # number 8
    clock.at_ms += 100
    backend.grab()  # number 9
    clock.at_ms += 100
    with pytest.raises(CameraError, match="over"):
        backend.grab()


# --- stills and video -----------------------------------------------------------------------------


def test_stills_come_in_order_two_seconds_each(tmp_path: Path) -> None:
    clock = HandClock()
    backend = StillsCamera(config(write_stills(tmp_path, 40, 200), fps=1), clock)
    backend.open()
    levels = []
    for _ in range(6):
        levels.append(round(pixels(backend.grab()).mean(), -1))
        clock.at_ms += 1_000
    assert levels == [40, 40, 200, 200, 40, 40]


def test_a_still_is_no_frozen_camera(tmp_path: Path) -> None:
    backend = StillsCamera(config(write_stills(tmp_path, 99)), SteppingClock())
    backend.open()
    assert not np.array_equal(pixels(backend.grab()), pixels(backend.grab()))


def test_video_frames_come_in_order_and_start_over(tmp_path: Path) -> None:
    backend = VideoFileBackend(config(write_video(tmp_path / "v.avi", 50, 120, 200)), SteppingClock())
    backend.open()
    levels = [pixels(backend.grab()).mean() for _ in range(6)]
    assert levels[:3] == sorted(levels[:3])
    assert levels[3:] == levels[:3]
    backend.close()


def test_a_picture_is_scaled_to_fit_and_keeps_its_aspect() -> None:
    frame = fit_to_size(np.full((100, 100, 3), 200, np.uint8), 320, 240, "square")
    assert frame.shape == (240, 320, 3)
    lit = np.nonzero(frame.max(axis=(0, 2)))[0]
    assert (lit.min(), lit.max()) == (40, 279)


def undecodable(folder: Path) -> CameraBackend:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    return StillsCamera(config(folder), SteppingClock())


def tiny(folder: Path) -> CameraBackend:
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((8, 900, 3), np.uint8))
    return StillsCamera(config(folder), SteppingClock())


def without_pictures(folder: Path) -> CameraBackend:
    (folder / "notes.txt").write_text("no picture")
    return StillsCamera(config(folder), SteppingClock())


def not_a_video(folder: Path) -> CameraBackend:
    (folder / "v.avi").write_bytes(b"no video")
    return VideoFileBackend(config(folder / "v.avi"), SteppingClock())


def cut_short(folder: Path) -> CameraBackend:
    whole = write_video(folder / "whole.avi", 50, 100).read_bytes()
    (folder / "cut.avi").write_bytes(whole[:400])
    return VideoFileBackend(config(folder / "cut.avi"), SteppingClock())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (undecodable, "broken.jpg: not a readable picture"),
        (tiny, "tiny.png: 900×8 is too small"),
        (without_pictures, "no picture in this directory"),
        (lambda folder: StillsCamera(config(folder / "gone"), SteppingClock()), "gone: No such file"),
        (
            lambda folder: VideoFileBackend(config(folder / "gone.avi"), SteppingClock()),
            "gone.avi: no such file",
        ),
        (not_a_video, "v.avi: not a video"),
        (cut_short, "cut.avi: no"),
    ],
    ids=[
        "undecodable",
        "wrong size",
        "empty directory",
        "no directory",
        "no video",
        "not a video",
        "cut short",
    ],
)
def test_bad_sources_are_named(make: Callable[[Path], CameraBackend], message: str, tmp_path: Path) -> None:
    backend = make(tmp_path)
    with pytest.raises(CameraError) as caught:
        backend.open()
        backend.grab()
    backend.close()
    assert message in str(caught.value)
    assert caught.value.code == "camera_unavailable"
    assert caught.value.fix


def test_open_stream_without_an_answer_is_retried_and_the_password_stays_secret() -> None:
    backend = StreamBackend(config("rtsp://user:hunter2@127.0.0.1:9/live", kind="stream"), SteppingClock())
    with pytest.raises(CameraError, match=r"127\.0\.0\.1 cannot be opened") as caught:
        backend.open()
    assert caught.value.retry is Retry.BACKOFF
    assert "hunter2" not in str(caught.value)
    backend.close()


@pytest.mark.parametrize("source", ["v.avi", "/srv/v.avi", "file:///srv/v.avi", "pipe:0", "concat:a|b"])
def test_a_file_or_another_protocol_is_no_stream(source: str) -> None:
    """FFmpeg opens these, so a film could replace the camera."""
    with pytest.raises(ValueError, match="scheme"):
        config(source, kind="stream")


# --- the factory ----------------------------------------------------------------------------------


async def test_each_replay_source_becomes_a_running_camera(tmp_path: Path) -> None:
    scene = tmp_path / "scene.toml"
    scene.write_text("length_ms = 1000\n")
    sources: list[Path | str] = [
        "",
        "empty",
        scene,
        write_stills(tmp_path / "s", 9),
        write_video(tmp_path / "v.avi", 9, 9),
    ]
    for source in sources:
        camera = make_camera(config(source, fps=30, stall_ms=60_000), RunningClock())
        camera.start()
        async with asyncio.timeout(60):
            assert (await camera.next_frame(0)).width_px == 320
        camera.stop()


def test_factory_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone"):
        make_camera(config(tmp_path / "gone"), HandClock())
