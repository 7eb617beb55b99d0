"""Following the payer between two detections in the whole frame, with the same guarantees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera.simulated.renderer import SceneRenderer
from agent.camera.simulated.scene import Person, Scene, SceneStep
from agent.config import VisionConfig
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point
from agent.core.policy import PolicyLimits
from agent.core.reasons import Continuity, FrameReason
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.follower import is_plausible
from tests.vision.people import (
    NAMES,
    SPRITES,
    Pixels,
    detector,
    empty_shop,
    new_identity,
    person,
    photo,
    staged,
    standing,
)
from tests.vision.surfaces import Pose as SolidPose
from tests.vision.surfaces import printed, solid

FRAME_MS = 60
WHOLE_MS = 300
Found = tuple[Detection, ...]


class RecordingDetector:
    """The real detector with a record of its inputs; ``bend`` changes its result in a region."""

    def __init__(self, bend: Callable[[Found], Found] = lambda found: found) -> None:
        self.bend = bend
        self.calls: list[str] = []

    def detect(self, bgr: Pixels, width_px: int | None = None) -> Found:
        found = detector().detect(bgr, width_px)
        self.calls.append("whole" if width_px is None else "region")
        return found if width_px is None else self.bend(found)


def make_analyzer(
    face_detector: RecordingDetector | None = None,
    limits: PolicyLimits | None = None,
    *,
    challenge: bool = False,
) -> LocalFaceAnalyzer:
    ready = LocalFaceAnalyzer(
        VisionConfig(),
        limits or PolicyLimits(),
        face_detector or RecordingDetector(),
        identity=new_identity(),
        challenge=challenge,
    )
    ready.begin(0)
    return ready


def frame(pixels: Pixels, at_ms: int) -> Frame:
    high, wide = pixels.shape[:2]
    return Frame(pixels, at_ms + 1, at_ms, wide, high)


def played(analyzer: LocalFaceAnalyzer, length_ms: int, *people: Person) -> list[Analysis]:
    stage = SceneRenderer(Scene(people=people, length_ms=length_ms), 1280, 720, 1, SPRITES)
    return [analyzer.analyze(frame(stage.picture(t), t)) for t in range(0, length_ms, FRAME_MS)]


def walking(name: str, *steps: tuple[int, float, float]) -> Person:
    return Person(photo=name, path=tuple(SceneStep(at_ms=t, x=x, face=face) for t, x, face in steps))


def followed_once(face_detector: RecordingDetector, picture: Pixels) -> tuple[LocalFaceAnalyzer, int]:
    """An analyzer that follows a payer, and the track number."""
    analyzer = make_analyzer(face_detector)
    first = analyzer.analyze(frame(picture, 0))
    assert first.track is not None
    assert analyzer.analyze(frame(picture, FRAME_MS)).reason is FrameReason.FOLLOWED
    face_detector.calls.clear()
    return analyzer, first.track


# --- the payer alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_moving_payer_keeps_the_track(name: str) -> None:
    face_detector = RecordingDetector()
    analyses = played(
        make_analyzer(face_detector),
        3_000,
        walking(name, (0, 0.35, 0.25), (1_500, 0.65, 0.35), (3_000, 0.4, 0.3)),
    )
    assert {one.track for one in analyses} == {1}
    assert {one.reason for one in analyses} == {FrameReason.SHOT, FrameReason.FOLLOWED}
    assert face_detector.calls.count("region") > 2 * face_detector.calls.count("whole")


def test_face_in_a_region_has_the_place_of_the_whole_frame() -> None:
    for name in NAMES:
        picture = standing(name, x=0.4)
        analyzer, _ = followed_once(RecordingDetector(), picture)
        near = analyzer.analyze(frame(picture, 2 * FRAME_MS)).face
        (whole,) = detector().detect(picture)
        assert near is not None
        slack = 0.1 * whole.box.height_px
        assert math.dist(_numbers(near.box), _numbers(whole.box)) < 2 * slack
        assert abs(near.landmarks.nose.x_px - whole.landmarks.nose.x_px) < slack


def _numbers(box: Box) -> tuple[float, ...]:
    return box.x_px, box.y_px, box.width_px, box.height_px


def test_next_shot_is_available_within_300_ms() -> None:
    """A failed call may need a new shot without a signal to the analyzer, so shots repeat."""
    analyses = played(make_analyzer(), 2_400, walking("obama_portrait", (0, 0.5, 0.3), (2_400, 0.5, 0.3)))
    shots = [one.captured_ms for one in analyses if one.shot]
    assert all(later - earlier == WHOLE_MS for earlier, later in pairwise(shots))
    assert len(shots) == 2_400 // WHOLE_MS


def test_better_shot_is_made_at_once() -> None:
    """No shot is excellent here, so the hold waits for a better shot."""
    face_detector = RecordingDetector()
    analyzer = make_analyzer(face_detector, replace(PolicyLimits(), excellent_score=100.0))
    first = analyzer.analyze(frame(standing("obama_portrait", blur=0.008), 0))
    same = analyzer.analyze(frame(standing("obama_portrait", blur=0.008), FRAME_MS))
    better = analyzer.analyze(frame(standing("obama_portrait"), 2 * FRAME_MS))
    assert [one.reason for one in (first, same)] == [FrameReason.SHOT, FrameReason.FOLLOWED]
    assert first.shot is not None
    assert better.shot is not None
    assert better.shot.quality.score > first.shot.quality.score
    assert better.track == first.track
    assert face_detector.calls[-2:] == ["region", "whole"]


@pytest.mark.parametrize("challenge", [False, True])
def test_straighter_face_is_a_shot_at_once_with_a_challenge(challenge: bool) -> None:
    """The core waits for a head that looks straight again, also after an excellent shot."""
    analyzer = make_analyzer(challenge=challenge, limits=replace(PolicyLimits(), excellent_score=60.0))
    analyses = [
        analyzer.analyze(frame(solid(printed("obama_portrait"), SolidPose(yaw)), number * FRAME_MS))
        for number, yaw in enumerate((26.0, 26.0, 0.0, 0.0))
    ]
    assert analyses[0].reason is FrameReason.SHOT
    assert analyses[2].reason is (FrameReason.SHOT if challenge else FrameReason.FOLLOWED)
    assert analyses[3].reason is FrameReason.FOLLOWED


def test_first_usable_frame_of_a_followed_face_is_a_shot() -> None:
    analyzer = make_analyzer()
    assert analyzer.analyze(frame(standing("obama_portrait", blur=0.03), 0)).reason is FrameReason.BLURRED
    blurred = analyzer.analyze(frame(standing("obama_portrait", blur=0.03), FRAME_MS))
    assert blurred.reason is FrameReason.BLURRED
    assert analyzer.analyze(frame(standing("obama_portrait"), 2 * FRAME_MS)).reason is FrameReason.SHOT


def test_a_shot_from_before_the_request_does_not_delay_the_first_that_counts() -> None:
    analyzer = make_analyzer()
    analyzer.begin(FRAME_MS)
    picture = standing("obama_portrait")
    assert analyzer.analyze(frame(picture, FRAME_MS - 10)).shot is not None
    assert analyzer.analyze(frame(picture, 2 * FRAME_MS)).shot is not None


# --- another person ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "face"), [(0.7, 0.3), (0.4, 0.5), (0.4, 0.16)], ids=["elsewhere", "much nearer", "much farther"]
)
def test_another_person_at_another_place_or_size_is_a_new_track(x: float, face: float) -> None:
    face_detector = RecordingDetector()
    analyzer, before = followed_once(face_detector, standing("obama_portrait", x=0.4, face=0.3))
    after = analyzer.analyze(frame(standing("biden_portrait", x=x, face=face), 2 * FRAME_MS))
    assert after.continuity is not Continuity.SAME  # too far to be compared: on no track yet
    assert after.track is None or after.track > before
    assert face_detector.calls == ["region", "whole"]


def test_face_that_disappears_is_no_face_at_once() -> None:
    face_detector = RecordingDetector()
    analyzer, _ = followed_once(face_detector, standing("obama_portrait"))
    assert analyzer.analyze(frame(empty_shop(), 2 * FRAME_MS)).reason is FrameReason.NO_FACE
    assert face_detector.calls == ["region", "whole"]
    assert analyzer.analyze(frame(empty_shop(), 3 * FRAME_MS)).reason is FrameReason.NO_FACE
    assert face_detector.calls == ["region", "whole", "whole"], "no face is followed any more"


def test_second_person_is_detected_within_300_ms() -> None:
    analyzer, _ = followed_once(RecordingDetector(), standing("obama_portrait", x=0.3, face=0.3))
    both = staged(person("obama_portrait", 0.3, 0.3), person("biden_portrait", 0.75, 0.3))
    analyses = [analyzer.analyze(frame(both, at_ms)) for at_ms in range(2 * FRAME_MS, WHOLE_MS + 1, FRAME_MS)]
    assert not any(one.shot for one in analyses)
    assert analyses[-1].reason is FrameReason.MULTIPLE_FACES


def test_second_person_beside_the_payers_head_is_detected_at_once() -> None:
    analyzer, _ = followed_once(RecordingDetector(), standing("obama_portrait", x=0.45, face=0.3))
    both = staged(person("obama_portrait", 0.45, 0.3), person("biden_portrait", 0.6, 0.26))
    assert analyzer.analyze(frame(both, 2 * FRAME_MS)).reason is FrameReason.MULTIPLE_FACES


def test_bystander_at_the_shoulder_causes_whole_frame_detections() -> None:
    face_detector = RecordingDetector()
    analyzer = make_analyzer(face_detector)
    picture = staged(person("biden_portrait", 0.36, 0.2), person("obama_portrait", 0.5, 0.4))
    analyses = [analyzer.analyze(frame(picture, at_ms)) for at_ms in range(0, 240, FRAME_MS)]
    assert all(one.shot and len(one.shot.others) == 1 for one in analyses)
    assert set(face_detector.calls) == {"whole"}


@settings(max_examples=12)
@given(st.integers(0, 900), st.floats(0.72, 0.95), st.floats(0.1, 0.2), st.floats(0.3, 0.45))
def test_shot_contains_every_bystander_of_its_frame(
    enters_ms: int, stands_at: float, bystander: float, payer: float
) -> None:
    """A person appears while the payer is followed: each shot contains all faces of its frame."""
    way = [(enters_ms, 1.2), (enters_ms + 500, stands_at), (enters_ms + 1_800, stands_at)]
    behind = walking("biden_portrait", *((at_ms, x, bystander) for at_ms, x in way))
    analyses = played(
        make_analyzer(), 1_800, behind, walking("obama_portrait", (0, 0.45, payer), (1_800, 0.5, payer))
    )
    shots = [one.shot for one in analyses if one.shot]
    assert shots
    for shot in shots:
        assert isinstance(shot.frame.pixels, np.ndarray)
        assert {shot.face, *shot.others} == set(detector().detect(shot.frame.pixels))


# --- a region that does not decide ------------------------------------------------------------------


def bent(**marks: Point) -> Callable[[Found], Found]:
    return lambda found: tuple(replace(one, landmarks=replace(one.landmarks, **marks)) for one in found)


def mouth_above(found: Found) -> Found:
    marks = found[0].landmarks
    upside_down = Landmarks(marks.right_mouth, marks.left_mouth, marks.nose, marks.right_eye, marks.left_eye)
    return (replace(found[0], landmarks=upside_down),)


def one_eye(found: Found) -> Found:
    return bent(left_eye=found[0].landmarks.right_eye)(found)


def turned(found: Found) -> Found:
    return bent(nose=found[0].landmarks.left_eye)(found)


def moved(share: float) -> Callable[[Found], Found]:
    def shift(found: Found) -> Found:
        box, by = found[0].box, share * found[0].box.height_px
        points = (Point(p.x_px + by, p.y_px) for p in _points(found[0].landmarks))
        return (Detection(replace(box, x_px=box.x_px + by), Landmarks(*points), 0.9),)

    return shift


def scaled(by: float) -> Callable[[Found], Found]:
    def grow(found: Found) -> Found:
        box, centre = found[0].box, found[0].box.centre
        wide, high = box.width_px * by, box.height_px * by
        larger = Box(centre.x_px - wide / 2, centre.y_px - high / 2, wide, high)
        points = (
            Point(centre.x_px + (p.x_px - centre.x_px) * by, centre.y_px + (p.y_px - centre.y_px) * by)
            for p in _points(found[0].landmarks)
        )
        return (Detection(larger, Landmarks(*points), 0.9),)

    return grow


def _points(marks: Landmarks) -> tuple[Point, ...]:
    return marks.right_eye, marks.left_eye, marks.nose, marks.right_mouth, marks.left_mouth


ODD = {
    "no face": lambda found: (),
    "two faces": lambda found: found * 2,
    "landmarks that are no numbers": bent(nose=Point(math.nan, math.nan)),
    "an infinite landmark": bent(left_mouth=Point(math.inf, 0.0)),
    "a landmark outside the box": bent(nose=Point(-50.0, 40.0)),
    "eyes in one place": one_eye,
    "the mouth above the eyes": mouth_above,
    "a turned head, which the whole frame did not see": turned,
    "a jump": moved(0.7),
    "grown at once": scaled(1.6),
    "shrunk at once": scaled(0.6),
    "a box without an inside": lambda found: (replace(found[0], box=Box(1.0, 1.0, 0.0, 9.0)),),
    "a box that is no number": lambda found: (replace(found[0], box=Box(math.nan, 1.0, 9.0, 9.0)),),
}


@pytest.mark.parametrize("bend", ODD.values(), ids=ODD)
def test_unusual_region_causes_a_whole_frame_detection(
    bend: Callable[[Found], Found],
) -> None:
    """The whole frame confirms the payer, who has not moved: the track stays."""
    face_detector = RecordingDetector()
    picture = standing("obama_portrait")
    analyzer, track = followed_once(face_detector, picture)
    face_detector.bend = bend
    analysis = analyzer.analyze(frame(picture, 2 * FRAME_MS))
    assert face_detector.calls == ["region", "whole"]
    assert analysis.reason is FrameReason.SHOT
    assert analysis.track == track
    assert analysis.face == detector().detect(picture)[0]


@pytest.mark.parametrize("bend", [moved(0.03), scaled(1.2)], ids=["a small step", "a little nearer"])
def test_small_change_in_the_region_is_accepted(bend: Callable[[Found], Found]) -> None:
    """The test above can fail: a change within the rule of the tracker needs no second detection."""
    face_detector = RecordingDetector()
    picture = standing("obama_portrait")
    analyzer, track = followed_once(face_detector, picture)
    face_detector.bend = bend
    assert analyzer.analyze(frame(picture, 2 * FRAME_MS)).track == track
    assert face_detector.calls == ["region"]


def test_faces_of_the_photos_are_plausible() -> None:
    for name in NAMES:
        assert is_plausible(detector().detect(photo(name))[0])


# --- unusual frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1024, 576), (640, 360), (1920, 1080)])
def test_frame_of_another_size_causes_a_whole_frame_detection(size: tuple[int, int]) -> None:
    face_detector = RecordingDetector()
    picture = standing("obama_portrait")
    analyzer, _ = followed_once(face_detector, picture)
    other = cv2.resize(picture, size).astype(np.uint8)
    analysis = analyzer.analyze(frame(other, 2 * FRAME_MS))
    assert face_detector.calls == ["whole"]
    assert analysis.face == detector().detect(other)[0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1280, 3), (720, 1, 3), (95, 95, 3)])
def test_one_frame_without_room_is_no_face_and_the_track_continues(
    shape: tuple[int, int, int],
) -> None:
    analyzer, track = followed_once(RecordingDetector(), standing("obama_portrait"))
    assert analyzer.analyze(frame(np.zeros(shape, np.uint8), 2 * FRAME_MS)).reason is FrameReason.NO_FACE
    back = analyzer.analyze(frame(standing("obama_portrait"), 3 * FRAME_MS))
    assert (back.reason, back.track) == (FrameReason.SHOT, track), "a short gap, by the rule of the tracker"


numbers = st.floats(-500, 1_500) | st.sampled_from([math.nan, math.inf, 0.0])
anything = st.builds(
    Detection,
    st.builds(Box, numbers, numbers, numbers, numbers),
    st.builds(Landmarks, *(st.builds(Point, numbers, numbers) for _ in range(5))),
    st.floats(0, 1),
)
PICTURE = standing("obama_portrait")
(PAYER,) = detector().detect(PICTURE)
steps = st.tuples(
    st.integers(1, 400),
    st.sampled_from([lambda found: found, moved(0.3), scaled(1.3), *ODD.values()]),
    st.lists(anything, max_size=2),
    st.booleans(),
)


class SteeredDetector(RecordingDetector):
    """The payer in most whole frames, with all other faces of the step."""

    more: Found = ()
    there: bool = True

    def detect(self, bgr: Pixels, width_px: int | None = None) -> Found:
        if width_px is not None:
            return super().detect(bgr, width_px)
        self.calls.append("whole")
        return (PAYER, *self.more) if self.there else self.more


@settings(max_examples=40)
@given(st.lists(steps, min_size=2, max_size=8))
def test_any_region_result_gives_shots_from_whole_frames_and_growing_tracks(
    frames: list[tuple[int, Callable[[Found], Found], list[Detection], bool]],
) -> None:
    face_detector, at_ms, whole_ms, tracks = SteeredDetector(), 0, 0, [0]
    analyzer = make_analyzer(face_detector)
    for pause_ms, bend, more, there in frames:
        at_ms += pause_ms
        face_detector.bend, face_detector.more, face_detector.there = bend, tuple(more), there
        face_detector.calls.clear()
        analysis = analyzer.analyze(frame(PICTURE, at_ms))
        whole_ms = at_ms if "whole" in face_detector.calls else whole_ms
        assert at_ms - whole_ms < WHOLE_MS
        assert (analysis.shot is not None) is (analysis.reason is FrameReason.SHOT)
        if analysis.shot is not None:
            assert face_detector.calls[-1] == "whole"
        tracks.append(analysis.track or tracks[-1])
    assert tracks == sorted(tracks)
