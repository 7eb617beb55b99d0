"""A technician's look: only at frames that are nobody's."""

from __future__ import annotations

import asyncio

import pytest

from agent.core.model import Frame
from agent.errors import CameraError, CameraReserved
from agent.live_view import frame_tap
from agent.live_view.frame_tap import LINGER_MS, FrameTap
from tests.fakes import glance
from tests.texts import zh


def frame(at_ms: int) -> Frame:
    return Frame(None, at_ms, at_ms, 64, 64)


async def asked(finder: FrameTap) -> asyncio.Task[Frame]:
    task = asyncio.create_task(finder.next_frame())
    await asyncio.sleep(0)
    return task


async def test_whoever_asks_gets_the_next_frame_and_the_look_stays_what_it_was() -> None:
    finder = FrameTap(glance, lambda: False)
    first, second = await asked(finder), await asked(finder)
    assert finder.look(frame(100)) == glance(frame(100))
    assert (await first).seq == (await second).seq == 100


async def test_a_frame_nobody_waits_for_is_not_kept() -> None:
    finder = FrameTap(glance, lambda: False)
    finder.look(frame(100))
    task = await asked(finder)
    finder.look(frame(200))
    assert (await task).seq == 200


async def test_a_payers_frames_are_for_nobody_and_nor_are_those_right_after() -> None:
    serving = True
    finder = FrameTap(glance, lambda: serving)
    with pytest.raises(CameraReserved) as refused:
        await finder.next_frame()
    assert refused.value.code == "camera_in_use_by_verification" and zh(refused.value.fix)
    finder.look(frame(1_000))
    serving = False
    finder.look(frame(1_000 + LINGER_MS - 1))
    with pytest.raises(CameraReserved):
        await finder.next_frame()
    finder.look(frame(1_000 + LINGER_MS))
    task = await asked(finder)
    finder.look(frame(2_000 + LINGER_MS))
    assert (await task).captured_ms == 2_000 + LINGER_MS


async def test_a_request_that_comes_while_somebody_waits_is_before_him() -> None:
    serving = False
    finder = FrameTap(glance, lambda: serving)
    task = await asked(finder)
    serving = True
    finder.look(frame(100))
    with pytest.raises(CameraReserved):
        await task


async def test_no_frame_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_tap, "FRAME_TIMEOUT_S", 0.01)
    with pytest.raises(CameraError) as silent:
        await FrameTap(glance, lambda: False).next_frame()
    assert not isinstance(silent.value, CameraReserved)
