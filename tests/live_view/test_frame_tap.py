"""The frame tap gives frames on request, and never a frame of a payer."""

from __future__ import annotations

import asyncio

import pytest

from agent.config.vision import CameraConfig
from agent.core.model import Frame
from agent.errors import CameraError, CameraReserved
from agent.health.frame_meter import FrameMeter
from agent.live_view import frame_tap
from agent.live_view.frame_tap import PAYER_FRAMES_MS, FrameTap
from agent.root.cameras import make_frame_check
from agent.vision.luma import BrightnessCheck
from tests.texts import zh


def frame(at_ms: int) -> Frame:
    return Frame(None, at_ms, at_ms, 64, 64)


async def request(tap: FrameTap) -> asyncio.Task[Frame]:
    task = asyncio.create_task(tap.next_frame())
    await asyncio.sleep(0)
    return task


async def test_next_frame_each_waiting_request_gets_the_same_frame() -> None:
    tap = FrameTap(lambda: False)
    first, second = await request(tap), await request(tap)
    tap.offer(frame(100))
    assert (await first).seq == (await second).seq == 100


async def test_check_frame_reaches_tap_meter_and_brightness_check() -> None:
    tap, meter = FrameTap(lambda: False), FrameMeter()
    task = await request(tap)
    assert make_frame_check(CameraConfig(), meter, tap)(frame(100)) == BrightnessCheck().check(frame(100))
    assert (await task).seq == 100 and meter.facts(150)["frame_age_ms"] == 50


async def test_offer_without_a_request_stores_no_frame() -> None:
    tap = FrameTap(lambda: False)
    tap.offer(frame(100))
    task = await request(tap)
    tap.offer(frame(200))
    assert (await task).seq == 200


async def test_next_frame_is_refused_during_a_verification_and_shortly_after() -> None:
    serving = True
    tap = FrameTap(lambda: serving)
    with pytest.raises(CameraReserved) as refused:
        await tap.next_frame()
    assert refused.value.code == "camera_in_use_by_verification" and zh(refused.value.fix)
    tap.offer(frame(1_000))
    serving = False
    task = await request(tap)
    tap.offer(frame(1_000 + PAYER_FRAMES_MS - 1))
    with pytest.raises(CameraReserved):
        await task
    tap.offer(frame(1_000 + PAYER_FRAMES_MS))
    task = await request(tap)
    tap.offer(frame(2_000 + PAYER_FRAMES_MS))
    assert (await task).captured_ms == 2_000 + PAYER_FRAMES_MS


async def test_next_frame_is_refused_after_a_verification_between_two_frames() -> None:
    """A verification that is refused at once ends within a few ms, and its payer is in the next frame."""
    opened = 0
    tap = FrameTap(lambda: False, lambda: opened)
    tap.offer(frame(1_000))
    task = await request(tap)
    opened += 1
    with pytest.raises(CameraReserved):
        tap.check()
    tap.offer(frame(1_100))
    with pytest.raises(CameraReserved):
        await task
    task = await request(tap)
    tap.offer(frame(1_100 + PAYER_FRAMES_MS - 1))
    with pytest.raises(CameraReserved):
        await task
    tap.offer(frame(1_100 + PAYER_FRAMES_MS))
    tap.check()


@pytest.mark.parametrize("opened", [0, 1])
async def test_next_frame_after_a_verification_reports_a_camera_without_a_picture(
    monkeypatch: pytest.MonkeyPatch, opened: int
) -> None:
    """Otherwise a technician would be told for ever that a verification has just ended."""
    monkeypatch.setattr(frame_tap, "FRAME_TIMEOUT_S", 0.01)
    serving = True
    tap = FrameTap(lambda: serving, lambda: opened)
    tap.offer(frame(1_000))
    serving, opened = False, opened + 1
    with pytest.raises(CameraError):
        await tap.next_frame()


async def test_next_frame_verification_that_starts_during_the_wait_has_priority() -> None:
    serving = False
    tap = FrameTap(lambda: serving)
    task = await request(tap)
    serving = True
    tap.offer(frame(100))
    with pytest.raises(CameraReserved):
        await task


async def test_next_frame_without_a_frame_raises_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_tap, "FRAME_TIMEOUT_S", 0.01)
    with pytest.raises(CameraError) as silent:
        await FrameTap(lambda: False).next_frame()
    assert not isinstance(silent.value, CameraReserved)
