"""A look through the running agent's camera, over its socket: asked explicitly, bounded, never at a payer."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.config import PolicyConfig, VisionConfig
from agent.control import camera as control_camera
from agent.control.camera import LENS, SHOT, ask_lens, ask_shot
from agent.control.server import CLIENTS_MAX, StatusServer, ask
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.errors import AgentError, CameraError, CameraReserved, StatusError
from agent.live_view.frame_tap import FrameTap
from agent.live_view.live_view import SHOT_EVERY_S, SHOTS_BURST, LiveView
from agent.log import Sparing
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.bench.frames import drawn
from tests.texts import en

LIMITS = PolicyLimits(**PolicyConfig().model_dump())


class Camera:
    """Passes frames through the viewfinder, as the frame loop does."""

    def __init__(self) -> None:
        self._pixels = drawn("one_obama_portrait", count=3)[2]
        self.serving = False
        self.passed = 0

    async def run(self, finder: FrameTap) -> None:
        while True:
            self.passed += 1
            told = {"Lux": 41.6}
            finder.offer(Frame(self._pixels, self.passed, 10_000 * self.passed, 1280, 720, None, told))
            await asyncio.sleep(0.01)


@asynccontextmanager
async def looking(path: Path) -> AsyncIterator[tuple[Camera, FrameTap]]:
    camera = Camera()
    finder = FrameTap(lambda: camera.serving)
    with ThreadPoolExecutor(1) as worker:
        technician = LiveView(finder, LocalFaceAnalyzer(VisionConfig(), LIMITS), worker, lambda: LIMITS)
        server = StatusServer(path, lambda: {"schema": "facepay.status/1"}, technician.looks)
        await server.open()
        frames = asyncio.create_task(camera.run(finder))
        try:
            yield camera, finder
        finally:
            frames.cancel()
            await server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


async def test_a_shot_is_an_annotated_picture_and_words_and_the_log_says_for_whom(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with looking(path):
        shot = await asyncio.to_thread(ask_shot, path)
    assert shot.jpeg.startswith(b"\xff\xd8") and (shot.reason, shot.guidance) == ("shot", "hold_still")
    (record,) = [record for record in caplog.records if record.message == "picture_handed_out"]
    assert f"user={os.geteuid()}" in str(vars(record)) or str(os.geteuid()) in str(vars(record))


async def test_the_lens_is_numbers_and_no_pixels(path: Path) -> None:
    async with looking(path):
        look = await asyncio.to_thread(ask_lens, path)
    assert 0 < look.sharpness < 100 and 0 < look.mean_luma < 255 and sum(look.levels) == pytest.approx(1.0)
    assert look.told == {"Lux": 41.6}, "what the camera says comes along"


@pytest.mark.parametrize("question", [ask_shot, ask_lens])
async def test_a_payer_comes_first(path: Path, question: object) -> None:
    async with looking(path) as (camera, _):
        camera.serving = True
        with pytest.raises(CameraReserved) as refused:
            await asyncio.to_thread(question, path)  # type: ignore[arg-type]
        assert refused.value.code == "camera_in_use_by_verification"
        camera.serving = False
        await asyncio.sleep(0.05)
        await asyncio.to_thread(question, path)  # type: ignore[arg-type]


async def test_a_request_that_comes_while_the_picture_is_made_keeps_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with looking(path) as (camera, _):

        def slow(*_: object) -> control_camera.ShotLook:
            camera.serving = True
            return control_camera.ShotLook(b"\xff\xd8 a payer", "shot", "")

        monkeypatch.setattr("agent.live_view.live_view.shot_of", slow)
        with pytest.raises(CameraReserved):
            await asyncio.to_thread(ask_shot, path)


async def test_many_askers_are_served_one_after_the_other_and_status_still_answers(path: Path) -> None:
    async with looking(path):
        asked = [asyncio.to_thread(ask_shot, path) for _ in range(CLIENTS_MAX - 1)]
        told, *shots = await asyncio.gather(asyncio.to_thread(ask, path), *asked)
    assert told["schema"] == "facepay.status/1" and all(shot.jpeg for shot in shots)


async def test_single_pictures_make_no_film(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That would be a live preview which `state` does not speak of."""
    async with looking(path):
        for _ in range(SHOTS_BURST):
            await asyncio.to_thread(ask_shot, path)
        with pytest.raises(CameraError) as refused:
            await asyncio.to_thread(ask_shot, path)
        assert refused.value.code == "camera_shots_too_many" and "Wait" in en(refused.value.fix)
        await asyncio.to_thread(ask_lens, path)
    assert sum(each.message == "picture_handed_out" for each in caplog.records) == SHOTS_BURST < Sparing.BURST
    assert SHOT_EVERY_S >= Sparing.REFILL_S, "the log names whoever took one"


async def test_an_agent_without_eyes_is_an_older_one(path: Path) -> None:
    server = StatusServer(path, lambda: {"schema": "facepay.status/1"})
    await server.open()
    for question in (ask_shot, ask_lens):
        with pytest.raises(StatusError) as old:
            await asyncio.to_thread(question, path)
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
def test_a_strange_answer_is_no_picture(
    path: Path, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = json.dumps({"schema": control_camera.SCHEMA, **more}).encode()
    monkeypatch.setattr(control_camera, "exchange", lambda *_, **__: raw)
    for question in (ask_shot, ask_lens):
        with pytest.raises(StatusError):
            question(path)


def test_the_questions_fit_the_socket() -> None:
    assert {len(LENS), len(SHOT)} <= set(range(1, 64))


def test_the_file_is_new_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    from agent.cli.camera_view import write_new

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
