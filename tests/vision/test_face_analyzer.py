"""Face analyzer on real people: one reason per frame, no missed face, no needless detection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera.simulated.renderer import SceneRenderer
from agent.camera.simulated.scene import Scene, SceneStep, load_scene
from agent.config import VisionConfig
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason, Guidance
from agent.errors import ImageError
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.models import YUNET, ModelFile, locate
from tests.vision.people import SPRITES, Pixels, detector, empty_shop, new_identity, person, staged, standing

LIMITS = PolicyLimits()


class CountingDetector:
    """The real detector with a counter of its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        self.runs += 1
        return detector().detect(bgr, width_px)


class StagedDetector:
    def __init__(self, *found: Detection) -> None:
        self.found = found

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        return self.found


def make_analyzer(face_detector: CountingDetector | StagedDetector | None = None) -> LocalFaceAnalyzer:
    ready = LocalFaceAnalyzer(
        VisionConfig(), LIMITS, face_detector or CountingDetector(), identity=new_identity()
    )
    ready.begin(0)
    return ready


def test_the_weights_are_read_and_checked_once_for_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    located = list[ModelFile]()

    def record(model: ModelFile, configured: Path | None = None) -> Path:
        located.append(model)
        return locate(model, configured)

    monkeypatch.setattr("agent.vision.detector.locate", record)
    LocalFaceAnalyzer(VisionConfig(), LIMITS)
    assert located == [YUNET]


def frame(pixels: object, at_ms: int = 0) -> Frame:
    return Frame(pixels, at_ms + 1, at_ms, 1280, 720)


def played(scene: str | Scene, analyzer: LocalFaceAnalyzer, every_ms: int = 100) -> list[Analysis]:
    """All analyses of a scene."""
    script = load_scene(scene) if isinstance(scene, str) else scene
    stage = SceneRenderer(script, 1280, 720, 1, SPRITES)
    return [analyzer.analyze(frame(stage.picture(t), t)) for t in range(0, script.length_ms, every_ms)]


@pytest.mark.parametrize(
    ("pixels", "reason", "hint"),
    [
        pytest.param(empty_shop, FrameReason.NO_FACE, None, id="no face"),
        pytest.param(lambda: standing("obama_portrait"), FrameReason.SHOT, None, id="the payer"),
        pytest.param(lambda: standing("obama_podium"), FrameReason.SHOT, None, id="slightly turned"),
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
def test_analysis_of_one_frame(
    pixels: Callable[[], Pixels], reason: FrameReason, hint: Guidance | None
) -> None:
    analysis = make_analyzer().analyze(frame(pixels()))
    assert analysis.reason is reason
    assert analysis.hint is hint
    assert (analysis.shot is not None) is (reason is FrameReason.SHOT)
    assert (analysis.frame_seq, analysis.captured_ms) == (1, 0)


def test_shot_contains_all_that_a_crop_needs() -> None:
    analyzer = make_analyzer()
    picture = staged(person("collins_portrait", 0.93, 0.14), person("obama_portrait", 0.5, 0.35))
    analysis = analyzer.analyze(frame(picture))
    assert analysis.shot is not None
    assert (analysis.shot.face, analysis.shot.track, analysis.shot.quality) == (
        analysis.face,
        analysis.track,
        analysis.quality,
    )
    assert len(analysis.shot.others) == 1
    assert len(analyzer.crop(analysis.shot).jpeg) <= 61_440


def test_analysis_of_a_complete_visit() -> None:
    analyses = played("approach", make_analyzer())
    shots = [one for one in analyses if one.reason is FrameReason.SHOT]
    assert len({one.track for one in shots}) == 1, "one person, one track"
    assert {one.reason for one in analyses[:10]} <= {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}
    assert FrameReason.TOO_SMALL in {one.reason for one in analyses}
    assert {one.reason for one in analyses[35:70]} == {FrameReason.SHOT, FrameReason.FOLLOWED}
    assert all(any(one.shot for one in analyses[at : at + 3]) for at in range(35, 67)), (
        "the core gets a shot in time"
    )
    assert analyses[-1].reason in {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}


def test_shipped_payers_are_always_usable() -> None:
    for name in ("obama_portrait", "obama_podium", "biden_portrait", "collins_portrait"):
        assert {one.reason for one in played(f"one_{name}", make_analyzer(), every_ms=1_000)} == {
            FrameReason.SHOT
        }


def test_empty_shop_and_two_people_never_give_a_shot() -> None:
    assert not [one for one in played("empty", make_analyzer(), every_ms=500) if one.shot]
    assert {one.reason for one in played("two_people", make_analyzer(), every_ms=500)} == {
        FrameReason.MULTIPLE_FACES
    }


def test_another_person_gets_another_track() -> None:
    analyzer = make_analyzer()
    first = analyzer.analyze(frame(standing("obama_portrait"), 0))
    analyzer.analyze(frame(empty_shop(), 100))
    analyzer.analyze(frame(empty_shop(), 500))
    second = analyzer.analyze(frame(standing("biden_portrait"), 600))
    assert first.track != second.track


# --- presence -------------------------------------------------------------------------------------


def test_empty_shop_needs_one_detection_per_300_ms() -> None:
    face_detector = CountingDetector()
    analyses = played("empty", make_analyzer(face_detector))
    assert face_detector.runs == pytest.approx(len(analyses) / 3, abs=2)
    assert {one.reason for one in analyses} == {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}


def test_person_who_appears_is_detected_in_the_same_frame() -> None:
    analyzer = make_analyzer()
    analyzer.analyze(frame(empty_shop(), 0))
    assert analyzer.analyze(frame(empty_shop(100), 100)).reason is FrameReason.NO_PRESENCE
    assert analyzer.analyze(frame(standing("obama_portrait"), 200)).reason is FrameReason.SHOT


def test_person_present_from_the_start_never_becomes_background() -> None:
    assert all(
        one.reason is FrameReason.SHOT for one in played("one_biden_portrait", make_analyzer(), every_ms=500)
    )


def test_person_who_turns_to_the_camera_is_detected_within_300_ms() -> None:
    """A person with the back to the camera is learnt as background, then turns to the camera."""
    back, front = SceneStep(at_ms=0, turn=150), SceneStep(at_ms=2_000, turn=150)
    turned = SceneStep(at_ms=2_200, turn=0), SceneStep(at_ms=4_000, turn=0)
    someone = person("obama_portrait", 0.5, 0.3).model_copy(update={"path": (back, front, *turned)})
    analyses = played(Scene(length_ms=4_000, people=(someone,)), make_analyzer())
    assert analyses[19].reason in {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}
    assert FrameReason.SHOT in {one.reason for one in analyses[22:26]}


# --- invalid input --------------------------------------------------------------------------------


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
def test_invalid_frames_are_no_face(pixels: object) -> None:
    assert make_analyzer().analyze(frame(pixels)).reason is FrameReason.NO_FACE


def test_frame_size_may_change_during_a_stream() -> None:
    analyzer = make_analyzer()
    for at_ms, size in enumerate([(720, 1280), (480, 640), (1080, 1920), (1, 1), (720, 1280)]):
        wanted = FrameReason.NO_FACE
        assert analyzer.analyze(frame(np.zeros((*size, 3), np.uint8), at_ms * 1_000)).reason is wanted


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
def test_analysis_of_any_detections_has_one_reason(found: list[Detection]) -> None:
    """NaN landmarks, boxes outside the frame, faces without size: never an exception, never NaN in a shot."""
    analyzer = make_analyzer(StagedDetector(*found))
    analysis = analyzer.analyze(frame(PICTURE))
    assert (analysis.shot is not None) is (analysis.reason is FrameReason.SHOT)
    if analysis.shot is not None:
        assert math.isfinite(analysis.shot.quality.score)
        assert len(analyzer.crop(analysis.shot).jpeg) <= 61_440


def test_crop_of_a_shot_without_pixels_raises() -> None:
    analyzer = make_analyzer()
    shot = analyzer.analyze(frame(PICTURE)).shot
    assert shot is not None
    with pytest.raises(ImageError, match="has no pixels"):
        analyzer.crop(replace(shot, frame=frame(None)))


def test_frame_full_of_light_without_a_face_asks_for_less_light() -> None:
    """Also while nothing moves: a hint that alternates with ``look_here`` cannot be read."""
    analyzer = make_analyzer(StagedDetector())
    white = np.full((720, 1280, 3), 255, np.uint8)
    found = [analyzer.analyze(frame(white, at_ms)) for at_ms in range(0, 1_000, 100)]
    assert {each.reason for each in found} == {FrameReason.NO_FACE, FrameReason.NO_PRESENCE}
    assert {each.hint for each in found} == {Guidance.TOO_BRIGHT}


def test_empty_shop_has_no_hint_about_light() -> None:
    assert make_analyzer().analyze(frame(empty_shop())).hint is None
