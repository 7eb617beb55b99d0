"""The eye on real people: one frame, one reason; nobody missed, no detector run for nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera.simulated.renderer import Props, SceneRenderer
from agent.camera.simulated.scene import Scene, SceneStep, load_scene
from agent.config import VisionConfig
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason, Guidance
from agent.errors import ImageError
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.vision.people import Pixels, detector, empty_shop, person, staged, standing

LIMITS = PolicyLimits()


class CountingFinder:
    """The real detector, with a count of how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        self.runs += 1
        return detector().detect(bgr, width_px)


class StagedFinder:
    def __init__(self, *found: Detection) -> None:
        self.found = found

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        return self.found


def eye(finder: CountingFinder | StagedFinder | None = None) -> LocalFaceAnalyzer:
    ready = LocalFaceAnalyzer(VisionConfig(), LIMITS, finder or CountingFinder())
    ready.begin(0)
    return ready


def frame(pixels: object, at_ms: int = 0) -> Frame:
    return Frame(pixels, at_ms + 1, at_ms, 1280, 720)


def played(scene: str | Scene, looker: LocalFaceAnalyzer, every_ms: int = 100) -> list[Analysis]:
    """A scene from start to end through an eye."""
    script = load_scene(scene) if isinstance(scene, str) else scene
    stage = SceneRenderer(script, 1280, 720, 1, Props())
    return [looker.look(frame(stage.picture(t), t)) for t in range(0, script.length_ms, every_ms)]


@pytest.mark.parametrize(
    ("pixels", "reason", "hint"),
    [
        pytest.param(empty_shop, FrameReason.NO_FACE, None, id="nobody"),
        pytest.param(lambda: standing("obama_portrait"), FrameReason.SHOT, None, id="the payer"),
        pytest.param(lambda: standing("obama_podium"), FrameReason.SHOT, None, id="talking, slightly turned"),
        pytest.param(
            lambda: staged(person("biden_portrait", 0.33, 0.3), person("obama_portrait", 0.67, 0.3)),
            FrameReason.MULTIPLE_FACES,
            None,
            id="two people",
        ),
        pytest.param(
            lambda: standing("biden_portrait", x=0.08),
            FrameReason.OFF_CENTRE,
            Guidance.MOVE_LEFT,
            id="at the edge",
        ),
        pytest.param(lambda: standing("obama_portrait", face=0.12), FrameReason.TOO_SMALL, None, id="far"),
        pytest.param(lambda: standing("obama_portrait", blur=0.03), FrameReason.BLURRED, None, id="blurred"),
    ],
)
def test_what_the_eye_says(pixels: Callable[[], Pixels], reason: FrameReason, hint: Guidance | None) -> None:
    seen = eye().look(frame(pixels()))
    assert seen.reason is reason
    assert seen.hint is hint
    assert (seen.shot is not None) is (reason is FrameReason.SHOT)
    assert (seen.frame_seq, seen.captured_ms) == (1, 0)


def test_a_shot_carries_all_that_a_crop_needs() -> None:
    looker = eye()
    picture = staged(person("collins_portrait", 0.93, 0.14), person("obama_portrait", 0.5, 0.35))
    seen = looker.look(frame(picture))
    assert seen.shot is not None
    assert (seen.shot.face, seen.shot.track, seen.shot.quality) == (seen.face, seen.track, seen.quality)
    assert len(seen.shot.others) == 1
    assert len(looker.crop(seen.shot).jpeg) <= 61_440


def test_a_visit_from_the_first_step_to_the_last() -> None:
    seen = played("approach", eye())
    shots = [one for one in seen if one.reason is FrameReason.SHOT]
    assert len({one.track for one in shots}) == 1, "one person, one track"
    assert {one.reason for one in seen[:10]} <= {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}
    assert FrameReason.TOO_SMALL in {one.reason for one in seen}
    assert {one.reason for one in seen[35:70]} == {FrameReason.SHOT, FrameReason.FOLLOWED}
    assert all(any(one.shot for one in seen[at : at + 3]) for at in range(35, 67)), "no core is kept waiting"
    assert seen[-1].reason in {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}


def test_the_shipped_payers_are_usable_all_the_time() -> None:
    for name in ("obama_portrait", "obama_podium", "biden_portrait", "collins_portrait"):
        assert {one.reason for one in played(f"one_{name}", eye(), every_ms=1_000)} == {FrameReason.SHOT}


def test_nobody_and_two_people_never_make_a_shot() -> None:
    assert not [one for one in played("nobody", eye(), every_ms=500) if one.shot]
    assert {one.reason for one in played("two_people", eye(), every_ms=500)} == {FrameReason.MULTIPLE_FACES}


def test_another_person_is_another_track() -> None:
    looker = eye()
    first = looker.look(frame(standing("obama_portrait"), 0))
    looker.look(frame(empty_shop(), 100))
    looker.look(frame(empty_shop(), 500))
    second = looker.look(frame(standing("biden_portrait"), 600))
    assert first.track != second.track


# --- presence -------------------------------------------------------------------------------------


def test_an_empty_shop_costs_a_detection_every_300_ms() -> None:
    finder = CountingFinder()
    seen = played("nobody", eye(finder))
    assert finder.runs == pytest.approx(len(seen) / 3, abs=2)
    assert {one.reason for one in seen} == {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}


def test_somebody_who_steps_in_is_seen_in_the_very_frame() -> None:
    looker = eye()
    looker.look(frame(empty_shop(), 0))
    assert looker.look(frame(empty_shop(100), 100)).reason is FrameReason.NO_PRESENCE
    assert looker.look(frame(standing("obama_portrait"), 200)).reason is FrameReason.SHOT


def test_somebody_who_stands_there_from_the_start_is_never_part_of_the_empty_scene() -> None:
    assert all(one.reason is FrameReason.SHOT for one in played("one_biden_portrait", eye(), every_ms=500))


def test_a_back_that_turns_round_is_seen_within_the_heartbeat() -> None:
    """He stands there with his back to the camera long enough to be learnt as background, then turns."""
    back, front = SceneStep(at_ms=0, turn=150), SceneStep(at_ms=2_000, turn=150)
    turned = SceneStep(at_ms=2_200, turn=0), SceneStep(at_ms=4_000, turn=0)
    someone = person("obama_portrait", 0.5, 0.3).model_copy(update={"path": (back, front, *turned)})
    seen = played(Scene(length_ms=4_000, people=(someone,)), eye())
    assert seen[19].reason in {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}
    assert FrameReason.SHOT in {one.reason for one in seen[22:26]}


# --- odd input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pixels",
    [
        None,
        b"bytes",
        np.zeros((720, 1280), np.uint8),
        np.zeros((720, 1280, 4), np.uint8),
        np.full((720, 1280, 3), math.nan),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((720, 1280, 3), np.uint8),
        np.full((720, 1280, 3), 255, np.uint8),
    ],
    ids=["none", "bytes", "grey", "alpha", "nan", "empty", "one pixel", "black", "white"],
)
def test_odd_frames_are_no_face(pixels: object) -> None:
    assert eye().look(frame(pixels)).reason is FrameReason.NO_FACE


def test_frame_sizes_may_change_in_mid_stream() -> None:
    looker = eye()
    for at_ms, size in enumerate([(720, 1280), (480, 640), (1080, 1920), (1, 1), (720, 1280)]):
        wanted = FrameReason.NO_FACE
        assert looker.look(frame(np.zeros((*size, 3), np.uint8), at_ms * 1_000)).reason is wanted


numbers = st.floats(-500, 2_000) | st.sampled_from([math.nan, math.inf, -math.inf])
points = st.builds(Point, numbers, numbers)
detections = st.builds(
    Detection,
    st.builds(Box, numbers, numbers, numbers, numbers),
    st.builds(Landmarks, points, points, points, points, points),
    st.floats(0, 1),
)
PICTURE = standing("obama_portrait")


@settings(max_examples=60)
@given(st.lists(detections, min_size=1, max_size=3))
def test_whatever_a_detector_says_the_eye_answers_with_one_reason(found: list[Detection]) -> None:
    """NaN landmarks, boxes outside the frame, faces without size: never an exception, never NaN in a shot."""
    looker = eye(StagedFinder(*found))
    seen = looker.look(frame(PICTURE))
    assert (seen.shot is not None) is (seen.reason is FrameReason.SHOT)
    if seen.shot is not None:
        assert math.isfinite(seen.shot.quality.score)
        assert len(looker.crop(seen.shot).jpeg) <= 61_440


def test_a_shot_that_lost_its_pixels_cannot_be_cropped() -> None:
    looker = eye()
    shot = looker.look(frame(PICTURE)).shot
    assert shot is not None
    with pytest.raises(ImageError, match="no pixels"):
        looker.crop(replace(shot, frame=frame(None)))
