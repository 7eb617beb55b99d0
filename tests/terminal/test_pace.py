"""A slow machine: measured once after the start, fewer frames are analyzed, no payer is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

from agent.config import Config, VisionConfig
from agent.core.model import Analysis, CameraHealth, Frame
from agent.core.pace import Pace
from agent.core.ports import RequestReceived
from agent.core.reasons import FrameReason
from agent.root import self_checks
from agent.root.handle import AgentHandle
from agent.vision.detector import Detector
from tests.fakes import check_frame, request
from tests.terminal.test_terminal import TerminalSetup, serving


class SlowDetector(Detector):
    """A real network on a machine of a given speed."""

    def __init__(self, detection_ms: float) -> None:
        self.time_ms, self.width_px = detection_ms, 320

    def detection_ms(self, wide_px: int, high_px: int) -> float:
        assert (wide_px, high_px) == (1280, 720)
        return self.time_ms

    def set_width(self, width_px: int) -> None:
        self.width_px = width_px


class Parts:
    """The parts of a handle that the measurement uses."""

    def __init__(self, setup: TerminalSetup, detector: object, config: Config) -> None:
        self.terminal, self.reload, self.analyzer = setup.terminal, self, self
        self.detector, self.config = detector, config


async def adapt(setup: TerminalSetup, detector: object, config: Config | None = None) -> Pace | None:
    async with asyncio.timeout(60):
        await self_checks.adapt_pace(cast(AgentHandle, cast(Any, Parts(setup, detector, config or Config()))))
    return setup.terminal.pace


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_checks, "_MEASURED_AFTER_S", 0.0)


async def test_a_slow_machine_gets_a_smaller_width() -> None:
    detector = SlowDetector(41.0)
    assert await adapt(TerminalSetup(), detector) == Pace(256, 10.0, 41.0, is_reduced=True)
    assert detector.width_px == 256


async def test_a_fast_machine_and_a_fixed_config_change_nothing() -> None:
    detector = SlowDetector(5.0)
    assert await adapt(TerminalSetup(), detector) == Pace(320, 10.0, 5.0)
    slow = SlowDetector(900.0)
    fixed = Config(vision=VisionConfig(adapt=False))
    assert await adapt(TerminalSetup(), slow, fixed) == Pace(320, 10.0, 900.0)
    assert (detector.width_px, slow.width_px) == (320, 320)


async def test_free_memory_is_returned_once_after_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list[str]()

    class Recorded(SlowDetector):
        def detection_ms(self, wide_px: int, high_px: int) -> float:
            steps.append("measured")
            return super().detection_ms(wide_px, high_px)

    monkeypatch.setattr(self_checks, "return_free_memory", lambda: steps.append("returned"))
    await adapt(TerminalSetup(), Recorded(5.0))
    assert steps == ["measured", "returned"]


async def test_a_reduced_rate_analyzes_fewer_frames_and_still_answers_the_payer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The camera delivers a frame every 5 ms. At 5 frames a second two analyses are 160 ms apart or more."""
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    captured_ms, analyze = list[int](), setup.analyzer.analyze

    def recorded(frame: Frame) -> Analysis:
        captured_ms.append(frame.captured_ms)
        return analyze(frame)

    monkeypatch.setattr(setup.analyzer, "analyze", recorded)
    async with serving(setup):
        setup.terminal.set_pace(Pace(160, 5.0, 900.0, is_reduced=True))
        await setup.till.inbox.put(RequestReceived(request(budget_ms=60_000)))
        async with asyncio.timeout(60):
            while len(captured_ms) < 4:  # noqa: ASYNC110 - the fake has no event
                await asyncio.sleep(0.01)
        setup.analyzer.stage = FrameReason.SHOT
        await setup.till.until(lambda: bool(setup.till.delivered), timeout_s=60)
    assert setup.till.delivered[0].payload == b"match/same_person"
    assert min(after - before for before, after in pairwise(captured_ms)) >= 160


async def test_a_picture_that_came_too_soon_is_analyzed_when_it_is_repeated() -> None:
    """A payer who moves once and then stands still before a coded stream: the second picture stays."""
    setup, seen = TerminalSetup(), list[int]()
    setup.analyzer.stage = FrameReason.NO_FACE

    def checked(frame: Frame) -> CameraHealth:
        seen.extend([frame.seq] if setup.analyzer.analyses else [])
        return replace(check_frame(frame), is_repeated=len(seen) > 1)  # one new picture after the first

    setup.terminal._frames._check_frame = checked
    async with serving(setup):
        setup.terminal.set_pace(Pace(160, 5.0, 900.0, is_reduced=True))
        await setup.till.inbox.put(RequestReceived(request(budget_ms=60_000)))
        async with asyncio.timeout(60):
            while setup.analyzer.analyses < 2:  # noqa: ASYNC110 - the fake has no event
                await asyncio.sleep(0.01)
        setup.analyzer.stage, setup.terminal._frames._check_frame = FrameReason.SHOT, check_frame
        await setup.till.until(lambda: bool(setup.till.delivered), timeout_s=60)
    assert setup.till.delivered[0].payload == b"match/same_person"


def test_a_detector_measures_itself_within_its_limit() -> None:
    detector = Detector.load()
    assert 0 < detector.detection_ms(1280, 720) < 60_000
    sizes = list[tuple[int, int]]()
    detector._net = type("Net", (), {"setInputSize": sizes.append, "detect": lambda *_: (0, None)})()
    detector.set_width(160)
    detector.detect(np.zeros((720, 1280, 3), np.uint8))
    assert sizes[-1:] == [(160, 90)]
