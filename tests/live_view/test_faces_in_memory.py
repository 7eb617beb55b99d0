"""After the preview or an annotated shot, no picture of the face stays in memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from agent.core.model import Analysis, Crop, Frame, Shot
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.live_view.live_view import LivePicture, annotated_picture
from tests.core.builders import FACE, even


class KeepingAnalyzer:
    """Keeps the aligned face until ``begin``, as the analyzer with a challenge does."""

    def __init__(self) -> None:
        self.faces: list[weakref.ref[np.ndarray]] = []
        self._kept: object = None

    def begin(self, at_ms: int) -> None:
        self._kept = None

    def analyze(self, frame: Frame) -> Analysis:
        face = np.zeros((112, 112, 3), np.uint8)
        self.faces.append(weakref.ref(face))
        self._kept = face
        shot = Shot(frame, FACE, even(90.0), 1)
        seen = (frame.seq, frame.captured_ms, FrameReason.SHOT, FACE, 1, shot.quality, shot)
        return Analysis(*seen, frame_width_px=1280, frame_height_px=720, appearance=face)

    def crop(self, shot: Shot) -> Crop:
        raise NotImplementedError


def frame(at_ms: int) -> Frame:
    return Frame(np.full((720, 1280, 3), 120, np.uint8), at_ms, at_ms, 1280, 720)


def test_the_live_picture_keeps_no_face_and_no_frame() -> None:
    analyzer = KeepingAnalyzer()
    live = LivePicture(analyzer, PolicyLimits)
    shown = frame(1_000)
    pixels = weakref.ref(shown.pixels)
    assert live.draw(shown)
    live.end()
    del shown
    gc.collect()
    assert analyzer.faces[0]() is None and pixels() is None


def test_an_annotated_shot_leaves_no_face_in_the_analyzer() -> None:
    analyzer = KeepingAnalyzer()
    assert annotated_picture(analyzer, PolicyLimits(), frame(1_000)).jpeg
    gc.collect()
    assert analyzer.faces[0]() is None
