"""Camera requests over the socket of the running agent: explicit, bounded, never during a verification."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from agent.config import PolicyConfig, VisionConfig
from agent.control import camera as control_camera
from agent.control import server as status_socket
from agent.control.camera import LENS, SHOT, request_lens, request_mounting, request_shot
from agent.control.server import CLIENTS_MAX, StatusServer, request_status
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.errors import AgentError, CameraError, CameraReserved, StatusError
from agent.live_view.frame_tap import FrameTap
from agent.live_view.live_view import PICTURE_EVERY_S, PICTURES_BURST, LiveView
from agent.log import Sparing
from agent.vision.detector_check import check_mounting
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.bench.frames import drawn
from tests.texts import en

LIMITS = PolicyLimits(**PolicyConfig().model_dump())


class Camera:
    """Offers frames to the frame tap, as the frame loop does."""

    def __init__(self) -> None:
        self._pixels = drawn("one_obama_portrait", count=3)[2]
        self.serving = False
        self.passed = 0

    async def run(self, tap: FrameTap) -> None:
        while True:
            self.passed += 1
            metadata = {"Lux": 41.6}
            tap.offer(Frame(self._pixels, self.passed, 10_000 * self.passed, 1280, 720, None, metadata))
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving_camera(path: Path) -> AsyncIterator[tuple[Camera, FrameTap]]:
    camera = Camera()
    tap = FrameTap(lambda: camera.serving)
    with ThreadPoolExecutor(1) as worker:
        mounting = partial(check_mounting, VisionConfig())
        live_view = LiveView(tap, LocalFaceAnalyzer(VisionConfig(), LIMITS), worker, lambda: LIMITS, mounting)
        server = StatusServer(path, lambda: {"schema": "facepay.status/1"}, live_view.handlers)
        await server.open()
        frames = asyncio.create_task(camera.run(tap))
        try:
            yield camera, tap
        finally:
            frames.cancel()
            await server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


async def test_shot_is_an_annotated_picture_and_the_log_has_the_user(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_camera(path):
        shot = await asyncio.to_thread(request_shot, path)
    assert shot.jpeg.startswith(b"\xff\xd8") and (shot.reason, shot.guidance) == ("shot", "hold_still")
    (record,) = [record for record in caplog.records if record.message == "picture_handed_out"]
    assert f"user={os.geteuid()}" in str(vars(record)) or str(os.geteuid()) in str(vars(record))


async def test_lens_is_numbers_without_pixels(path: Path) -> None:
    async with serving_camera(path):
        reading = await asyncio.to_thread(request_lens, path)
    assert 0 < reading.sharpness < 100 and 0 < reading.mean_luma < 255
    assert sum(reading.levels) == pytest.approx(1.0)
    assert reading.metadata == {"Lux": 41.6}, "the metadata of the camera is part of the reading"


async def test_mounting_is_numbers_of_the_largest_face_without_pixels(path: Path) -> None:
    async with serving_camera(path):
        reading = await asyncio.to_thread(request_mounting, path)
    assert reading.rotation == 0 and 100 < reading.face_width_px < 400 and reading.sharpness > 5


@pytest.mark.parametrize("request_", [request_shot, request_lens, request_mounting])
async def test_requests_are_refused_during_a_verification(path: Path, request_: object) -> None:
    async with serving_camera(path) as (camera, _):
        camera.serving = True
        with pytest.raises(CameraReserved) as refused:
            await asyncio.to_thread(request_, path)  # type: ignore[arg-type]
        assert refused.value.code == "camera_in_use_by_verification"
        camera.serving = False
        await asyncio.sleep(0.05)
        await asyncio.to_thread(request_, path)  # type: ignore[arg-type]


async def test_shot_verification_that_starts_meanwhile_withholds_the_picture(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving_camera(path) as (camera, _):

        def slow(*_: object) -> control_camera.AnnotatedPicture:
            camera.serving = True
            return control_camera.AnnotatedPicture(b"\xff\xd8 a payer", "shot", "")

        monkeypatch.setattr("agent.live_view.live_view.annotated_picture", slow)
        with pytest.raises(CameraReserved):
            await asyncio.to_thread(request_shot, path)


async def test_shot_many_clients_are_served_in_turn_and_status_still_answers(path: Path) -> None:
    async with serving_camera(path):
        requests = [asyncio.to_thread(request_shot, path) for _ in range(CLIENTS_MAX - 1)]
        status, *shots = await asyncio.gather(asyncio.to_thread(request_status, path), *requests)
    assert status["schema"] == "facepay.status/1" and all(shot.jpeg for shot in shots)


async def test_shot_rate_is_limited(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise single pictures would be a live view which `state` does not report."""
    async with serving_camera(path):
        for _ in range(PICTURES_BURST):
            await asyncio.to_thread(request_shot, path)
        with pytest.raises(CameraError) as refused:
            await asyncio.to_thread(request_shot, path)
        assert refused.value.code == "camera_shots_too_many" and "Wait" in en(refused.value.fix)
        await asyncio.to_thread(request_lens, path)
    assert (
        sum(each.message == "picture_handed_out" for each in caplog.records) == PICTURES_BURST < Sparing.BURST
    )
    assert PICTURE_EVERY_S >= Sparing.REFILL_S, "the log has each user"


async def test_agent_without_camera_requests_is_named_as_older(path: Path) -> None:
    server = StatusServer(path, lambda: {"schema": "facepay.status/1"})
    await server.open()
    for request in (request_shot, request_lens, request_mounting):
        with pytest.raises(StatusError) as old:
            await asyncio.to_thread(request, path)
        assert old.value.code == "status_malformed" and "older" in en(old.value.fix)
    await server.close()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"shot": 1},
        {"shot": {"jpeg_b64": "%", "reason": "", "guidance": ""}},
        {"lens": {"levels": 1}},
        {"lens": []},
    ],
    ids=str,
)
def test_malformed_response_raises(
    path: Path, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = json.dumps({"schema": control_camera.SCHEMA, **more}).encode()
    monkeypatch.setattr(status_socket, "send_request", lambda *_, **__: raw)
    for request in (request_shot, request_lens, request_mounting):
        with pytest.raises(StatusError):
            request(path)


def test_requests_fit_the_socket() -> None:
    assert {len(LENS), len(SHOT)} <= set(range(1, 64))


def test_written_picture_is_a_new_file_for_its_owner_only(tmp_path: Path) -> None:
    from agent.cli.options import write_new

    target, link = tmp_path / "a.jpg", tmp_path / "link.jpg"
    write_new(target, b"picture")
    assert target.read_bytes() == b"picture" and stat.S_IMODE(target.stat().st_mode) == 0o600
    link.symlink_to(tmp_path / "elsewhere")
    for place, code in (
        (target, "file_exists"),
        (link, "file_exists"),
        (tmp_path / "no" / "x", "file_unwritable"),
    ):
        with pytest.raises(AgentError) as refused:
            write_new(place, b"other")
        assert refused.value.code == code
    assert target.read_bytes() == b"picture" and not (tmp_path / "elsewhere").exists()
