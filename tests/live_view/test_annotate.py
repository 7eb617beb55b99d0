"""Annotated pictures: drawn on a copy, for each possible analysis."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from agent.config import PolicyConfig, VisionConfig
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.errors import ImageError
from agent.live_view.annotate import Pixels, analysis_facts, annotate, jpeg_of, notice_picture, shrink
from agent.texts import texts_below
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.bench.frames import drawn

LIMITS = PolicyLimits(**PolicyConfig().model_dump())
GREY = np.full((720, 1280, 3), 120, np.uint8)


def analyze(pixels: Pixels) -> Analysis:
    analyzer = LocalFaceAnalyzer(VisionConfig(), LIMITS)
    analyzer.begin(0)
    return analyzer.analyze(Frame(pixels, 1, 100, 1280, 720))


def changed(one: Pixels, other: Pixels, top: int, bottom: int, left: int, right: int) -> int:
    difference = cv2.absdiff(one, other).max(axis=2)[top:bottom, left:right]
    return int(np.count_nonzero(difference > 30))


def face_at(x: float, y: float, side: float = 200) -> Detection:
    middle = Point(x + side / 2, y + side / 2)
    return Detection(Box(x, y, side, side), Landmarks(middle, middle, middle, middle, middle), 0.9)


def test_annotated_real_face_gets_box_landmarks_and_bars_on_a_copy() -> None:
    pixels = np.asarray(drawn("one_obama_portrait", count=3)[2], np.uint8)
    before, analysis = pixels.copy(), analyze(pixels)
    assert analysis.face is not None and analysis.quality is not None
    picture = annotate(pixels, analysis, LIMITS)
    assert picture.shape == (360, 640, 3) and np.array_equal(pixels, before)
    plain, box = shrink(pixels)[0], analysis.face.box
    left, top = round(box.x_px / 2), round(box.y_px / 2)
    right, bottom = round((box.x_px + box.width_px) / 2), round((box.y_px + box.height_px) / 2)
    assert changed(plain, picture, top - 2, bottom + 2, left - 2, left + 3) > 50, "an edge of the box"
    assert changed(plain, picture, top + 4, bottom - 4, left + 4, right - 4) > 50, "landmarks"
    assert changed(plain, picture, 0, 160, 0, 200) > 500, "bars"


def test_annotated_without_a_face_shows_zone_and_text_only() -> None:
    picture = annotate(GREY, Analysis(1, 1, FrameReason.NO_FACE), LIMITS)
    inside = picture[30:320, 110:530]
    assert np.all(inside == 120) and np.any(picture != 120)


def test_annotated_usable_shot_is_green_and_other_face_is_orange() -> None:
    analysis = Analysis(1, 1, FrameReason.SHOT, face_at(500, 200))
    good, not_yet = (
        annotate(GREY, each, LIMITS)[200, 250]
        for each in (analysis, replace(analysis, reason=FrameReason.TURNED))
    )
    assert good[1] > good[2] and not_yet[2] > not_yet[1], "green, then orange (B, G, R)"


@pytest.mark.parametrize("x", [float("nan"), float("inf"), -1e12, 1e30, -500.0], ids=str)
def test_annotated_box_at_an_extreme_place_raises_no_error(x: float) -> None:
    analysis = Analysis(1, 1, FrameReason.MULTIPLE_FACES, face_at(x, x), others=(face_at(x, 10),))
    assert annotate(GREY, analysis, LIMITS).shape == (360, 640, 3)


@pytest.mark.parametrize(("wide", "high"), [(64, 64), (100, 640), (640, 480), (1920, 1080), (4096, 2160)])
def test_annotated_each_frame_size_becomes_small(wide: int, high: int) -> None:
    pixels = np.zeros((high, wide, 3), np.uint8)
    picture = annotate(pixels, Analysis(1, 1, FrameReason.NO_FACE), LIMITS)
    assert picture.shape[1] <= 960 and abs(picture.shape[0] / picture.shape[1] - high / wide) < 0.02


@pytest.mark.parametrize(
    "pixels",
    [None, b"jpeg", np.zeros((720, 1280)), np.zeros((8, 8, 3), np.uint8), np.zeros((720, 1280, 4), np.uint8)],
    ids=["nothing", "bytes", "floats", "tiny", "four channels"],
)
def test_annotated_no_picture_raises(pixels: object) -> None:
    with pytest.raises(ImageError):
        annotate(pixels, Analysis(1, 1, FrameReason.NO_FACE), LIMITS)


def test_notice_is_a_jpeg() -> None:
    raw = notice_picture("paused: a customer is served")
    picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    assert raw.startswith(b"\xff\xd8") and picture is not None and picture.shape == (360, 640, 3)
    assert jpeg_of(GREY).startswith(b"\xff\xd8")


def test_picture_of_the_live_view_has_boxes_and_no_texts() -> None:
    pixels = np.asarray(drawn("one_obama_portrait", count=3)[2], np.uint8)
    analysis = analyze(pixels)
    picture, plain = annotate(pixels, analysis, LIMITS, texts=False), shrink(pixels)[0]
    assert analysis.face is not None
    left, top = round(analysis.face.box.x_px / 2), round(analysis.face.box.y_px / 2)
    assert changed(plain, picture, top - 2, top + 100, left - 2, left + 3) > 50, "an edge of the box"
    assert changed(plain, picture, 340, 358, 10, 80) == 0, "no strip at the bottom"
    assert changed(plain, picture, 10, 160, 10, 80) == 0, "no bars"


def test_facts_are_the_measures_with_their_limits() -> None:
    pixels = np.asarray(drawn("one_obama_portrait", count=3)[2], np.uint8)
    analysis = analyze(pixels)
    assert analysis.quality is not None
    facts = analysis_facts(analysis, LIMITS)
    measures = facts["measures"]
    assert isinstance(measures, list) and facts["reason"] == analysis.reason
    assert {each["name"] for each in measures} == set(texts_below("measure"))
    sharpness = next(each for each in measures if each["name"] == "sharpness")
    assert sharpness["value"] == round(analysis.quality.sharpness)
    assert sharpness["is_good"] is (analysis.quality.sharpness >= LIMITS.min_sharpness)
    empty = analysis_facts(Analysis(1, 1, FrameReason.NO_FACE), LIMITS)
    assert empty == {"reason": "no_face", "guidance": "look_here", "measures": []}


@pytest.mark.parametrize(
    "text", ["x", "paused: a customer is served", "no picture: camera_in_use_by_verification"]
)
def test_text_of_a_notice_fills_the_width_and_stays_inside(text: str) -> None:
    picture = cv2.imdecode(np.frombuffer(notice_picture(text), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    columns = np.flatnonzero((picture > 150).any(axis=0))
    assert columns.min() >= 8 and columns.max() < picture.shape[1] - 8
    assert len(text) < 20 or columns.max() - columns.min() > 0.7 * picture.shape[1], "readable on a phone"
