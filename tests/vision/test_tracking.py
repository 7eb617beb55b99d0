"""Between two looks at the whole frame the payer is followed: cheaper, and not one promise less."""

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

from agent.camera.simulated.renderer import Props, SceneRenderer
from agent.camera.simulated.scene import Person, Scene, SceneStep
from agent.config import VisionConfig
from agent.core.model import Analysis, Box, Detection, Frame, Landmarks, Point
from agent.core.policy import PolicyLimits
from agent.core.reasons import Continuity, FrameReason
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.follower import is_plausible
from tests.vision.people import NAMES, Pixels, detector, empty_shop, person, photo, staged, standing

FRAME_MS = 60
WHOLE_MS = 300
Found = tuple[Detection, ...]


class WatchedFinder:
    """The real detector, with a note of what it was asked; ``bend`` changes what it finds in a region."""

    def __init__(self, bend: Callable[[Found], Found] = lambda found: found) -> None:
        self.bend = bend
        self.asked: list[str] = []

    def detect(self, bgr: Pixels, width_px: int | None = None) -> Found:
        found = detector().detect(bgr, width_px)
        self.asked.append("whole" if width_px is None else "region")
        return found if width_px is None else self.bend(found)


def eye(finder: WatchedFinder | None = None, limits: PolicyLimits | None = None) -> LocalFaceAnalyzer:
    ready = LocalFaceAnalyzer(VisionConfig(), limits or PolicyLimits(), finder or WatchedFinder())
    ready.begin(0)
    return ready


def frame(pixels: Pixels, at_ms: int) -> Frame:
    high, wide = pixels.shape[:2]
    return Frame(pixels, at_ms + 1, at_ms, wide, high)


def played(looker: LocalFaceAnalyzer, length_ms: int, *people: Person) -> list[Analysis]:
    stage = SceneRenderer(Scene(people=people, length_ms=length_ms), 1280, 720, 1, Props())
    return [looker.look(frame(stage.picture(t), t)) for t in range(0, length_ms, FRAME_MS)]


def walking(name: str, *steps: tuple[int, float, float]) -> Person:
    return Person(photo=name, path=tuple(SceneStep(at_ms=t, x=x, face=face) for t, x, face in steps))


def followed_once(finder: WatchedFinder, picture: Pixels) -> tuple[LocalFaceAnalyzer, int]:
    """An eye that has seen a payer and now follows him, and his number."""
    looker = eye(finder)
    first = looker.look(frame(picture, 0))
    assert first.track is not None
    assert looker.look(frame(picture, FRAME_MS)).reason is FrameReason.FOLLOWED
    finder.asked.clear()
    return looker, first.track


# --- the payer alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_moving_payer_keeps_his_number(name: str) -> None:
    finder = WatchedFinder()
    seen = played(eye(finder), 3_000, walking(name, (0, 0.35, 0.25), (1_500, 0.65, 0.35), (3_000, 0.4, 0.3)))
    assert {one.track for one in seen} == {1}
    assert {one.reason for one in seen} == {FrameReason.SHOT, FrameReason.FOLLOWED}
    assert finder.asked.count("region") > 2 * finder.asked.count("whole")


def test_what_is_found_in_a_region_stands_where_the_whole_frame_finds_it() -> None:
    for name in NAMES:
        picture = standing(name, x=0.4)
        looker, _ = followed_once(WatchedFinder(), picture)
        near = looker.look(frame(picture, 2 * FRAME_MS)).face
        (whole,) = detector().detect(picture)
        assert near is not None
        slack = 0.1 * whole.box.height_px
        assert math.dist(_numbers(near.box), _numbers(whole.box)) < 2 * slack
        assert abs(near.landmarks.nose.x_px - whole.landmarks.nose.x_px) < slack


def _numbers(box: Box) -> tuple[float, ...]:
    return box.x_px, box.y_px, box.width_px, box.height_px


def test_the_core_never_waits_longer_than_the_full_look_for_another_shot() -> None:
    """A question that failed may want a new shot, and the eye is not told: it makes one anyway."""
    seen = played(eye(), 2_400, walking("obama_portrait", (0, 0.5, 0.3), (2_400, 0.5, 0.3)))
    shots = [one.captured_ms for one in seen if one.shot]
    assert all(later - earlier == WHOLE_MS for earlier, later in pairwise(shots))
    assert len(shots) == 2_400 // WHOLE_MS


def test_a_better_shot_is_made_at_once() -> None:
    """No shot is excellent here, so the hold is waiting for a better one."""
    finder = WatchedFinder()
    looker = eye(finder, replace(PolicyLimits(), excellent_score=100.0))
    first = looker.look(frame(standing("obama_portrait", blur=0.008), 0))
    same = looker.look(frame(standing("obama_portrait", blur=0.008), FRAME_MS))
    better = looker.look(frame(standing("obama_portrait"), 2 * FRAME_MS))
    assert [one.reason for one in (first, same)] == [FrameReason.SHOT, FrameReason.FOLLOWED]
    assert first.shot is not None
    assert better.shot is not None
    assert better.shot.quality.score > first.shot.quality.score
    assert better.track == first.track
    assert finder.asked[-2:] == ["region", "whole"]


def test_the_first_usable_frame_of_a_followed_face_is_a_shot() -> None:
    looker = eye()
    assert looker.look(frame(standing("obama_portrait", blur=0.03), 0)).reason is FrameReason.BLURRED
    blurred = looker.look(frame(standing("obama_portrait", blur=0.03), FRAME_MS))
    assert blurred.reason is FrameReason.BLURRED
    assert looker.look(frame(standing("obama_portrait"), 2 * FRAME_MS)).reason is FrameReason.SHOT


def test_a_shot_from_before_the_request_does_not_delay_the_first_that_counts() -> None:
    looker = eye()
    looker.begin(FRAME_MS)
    picture = standing("obama_portrait")
    assert looker.look(frame(picture, FRAME_MS - 10)).shot is not None
    assert looker.look(frame(picture, 2 * FRAME_MS)).shot is not None


# --- somebody else --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "face"), [(0.7, 0.3), (0.4, 0.5), (0.4, 0.16)], ids=["elsewhere", "much nearer", "much farther"]
)
def test_another_person_at_another_place_or_size_is_a_new_track(x: float, face: float) -> None:
    finder = WatchedFinder()
    looker, before = followed_once(finder, standing("obama_portrait", x=0.4, face=0.3))
    after = looker.look(frame(standing("biden_portrait", x=x, face=face), 2 * FRAME_MS))
    assert after.continuity is not Continuity.SAME  # too far to be compared: on no track yet
    assert after.track is None or after.track > before
    assert finder.asked == ["region", "whole"]


def test_a_face_that_disappears_is_no_face_at_once() -> None:
    finder = WatchedFinder()
    looker, _ = followed_once(finder, standing("obama_portrait"))
    assert looker.look(frame(empty_shop(), 2 * FRAME_MS)).reason is FrameReason.NO_FACE
    assert finder.asked == ["region", "whole"]
    assert looker.look(frame(empty_shop(), 3 * FRAME_MS)).reason is FrameReason.NO_FACE
    assert finder.asked == ["region", "whole", "whole"], "nobody is followed any more"


def test_a_second_person_is_seen_within_the_full_look() -> None:
    looker, _ = followed_once(WatchedFinder(), standing("obama_portrait", x=0.3, face=0.3))
    both = staged(person("obama_portrait", 0.3, 0.3), person("biden_portrait", 0.75, 0.3))
    seen = [looker.look(frame(both, at_ms)) for at_ms in range(2 * FRAME_MS, WHOLE_MS + 1, FRAME_MS)]
    assert not any(one.shot for one in seen)
    assert seen[-1].reason is FrameReason.MULTIPLE_FACES


def test_a_second_person_beside_the_payers_head_is_seen_at_once() -> None:
    looker, _ = followed_once(WatchedFinder(), standing("obama_portrait", x=0.45, face=0.3))
    both = staged(person("obama_portrait", 0.45, 0.3), person("biden_portrait", 0.6, 0.26))
    assert looker.look(frame(both, 2 * FRAME_MS)).reason is FrameReason.MULTIPLE_FACES


def test_with_a_bystander_at_his_shoulder_every_frame_is_looked_at_in_full() -> None:
    finder = WatchedFinder()
    looker = eye(finder)
    picture = staged(person("biden_portrait", 0.36, 0.2), person("obama_portrait", 0.5, 0.4))
    seen = [looker.look(frame(picture, at_ms)) for at_ms in range(0, 240, FRAME_MS)]
    assert all(one.shot and len(one.shot.others) == 1 for one in seen)
    assert set(finder.asked) == {"whole"}


@settings(max_examples=12)
@given(st.integers(0, 900), st.floats(0.72, 0.95), st.floats(0.1, 0.2), st.floats(0.3, 0.45))
def test_no_shot_has_a_bystander_whom_nobody_knows_of(
    enters_ms: int, stands_at: float, bystander: float, payer: float
) -> None:
    """Somebody walks in while the payer is followed: each shot knows everybody in its own frame."""
    way = [(enters_ms, 1.2), (enters_ms + 500, stands_at), (enters_ms + 1_800, stands_at)]
    behind = walking("biden_portrait", *((at_ms, x, bystander) for at_ms, x in way))
    seen = played(eye(), 1_800, behind, walking("obama_portrait", (0, 0.45, payer), (1_800, 0.5, payer)))
    shots = [one.shot for one in seen if one.shot]
    assert shots
    for shot in shots:
        assert isinstance(shot.frame.pixels, np.ndarray)
        assert {shot.face, *shot.others} == set(detector().detect(shot.frame.pixels))


# --- a region that does not tell ------------------------------------------------------------------


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
def test_anything_odd_in_the_region_and_the_same_frame_is_looked_at_in_full(
    bend: Callable[[Found], Found],
) -> None:
    """The whole frame then vouches for the payer, who has not moved: he keeps his number."""
    finder = WatchedFinder()
    picture = standing("obama_portrait")
    looker, track = followed_once(finder, picture)
    finder.bend = bend
    seen = looker.look(frame(picture, 2 * FRAME_MS))
    assert finder.asked == ["region", "whole"]
    assert seen.reason is FrameReason.SHOT
    assert seen.track == track
    assert seen.face == detector().detect(picture)[0]


@pytest.mark.parametrize("bend", [moved(0.03), scaled(1.2)], ids=["a small step", "a little nearer"])
def test_the_bent_finder_is_believed_within_the_trackers_rule(bend: Callable[[Found], Found]) -> None:
    """The story above can fail: what the tracker allows needs no second look."""
    finder = WatchedFinder()
    picture = standing("obama_portrait")
    looker, track = followed_once(finder, picture)
    finder.bend = bend
    assert looker.look(frame(picture, 2 * FRAME_MS)).track == track
    assert finder.asked == ["region"]


def test_the_faces_of_the_photographs_are_plausible() -> None:
    for name in NAMES:
        assert is_plausible(detector().detect(photo(name))[0])


# --- odd frames -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1024, 576), (640, 360), (1920, 1080)])
def test_a_frame_of_another_size_is_looked_at_in_full(size: tuple[int, int]) -> None:
    finder = WatchedFinder()
    picture = standing("obama_portrait")
    looker, _ = followed_once(finder, picture)
    other = cv2.resize(picture, size).astype(np.uint8)
    seen = looker.look(frame(other, 2 * FRAME_MS))
    assert finder.asked == ["whole"]
    assert seen.face == detector().detect(other)[0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1280, 3), (720, 1, 3), (95, 95, 3)])
def test_a_frame_without_room_in_the_middle_is_no_face_and_nobody_is_lost_for_good(
    shape: tuple[int, int, int],
) -> None:
    looker, track = followed_once(WatchedFinder(), standing("obama_portrait"))
    assert looker.look(frame(np.zeros(shape, np.uint8), 2 * FRAME_MS)).reason is FrameReason.NO_FACE
    back = looker.look(frame(standing("obama_portrait"), 3 * FRAME_MS))
    assert (back.reason, back.track) == (FrameReason.SHOT, track), "a blink, by the tracker's rule"


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


class SteeredFinder(WatchedFinder):
    """The payer in most looks at the whole frame, with whatever else the story puts there."""

    more: Found = ()
    there: bool = True

    def detect(self, bgr: Pixels, width_px: int | None = None) -> Found:
        if width_px is not None:
            return super().detect(bgr, width_px)
        self.asked.append("whole")
        return (PAYER, *self.more) if self.there else self.more


@settings(max_examples=40)
@given(st.lists(steps, min_size=2, max_size=8))
def test_whatever_a_region_says_shots_come_from_whole_frames_and_numbers_only_grow(
    story: list[tuple[int, Callable[[Found], Found], list[Detection], bool]],
) -> None:
    finder, at_ms, whole_ms, tracks = SteeredFinder(), 0, 0, [0]
    looker = eye(finder)
    for pause_ms, bend, more, there in story:
        at_ms += pause_ms
        finder.bend, finder.more, finder.there = bend, tuple(more), there
        finder.asked.clear()
        seen = looker.look(frame(PICTURE, at_ms))
        whole_ms = at_ms if "whole" in finder.asked else whole_ms
        assert at_ms - whole_ms < WHOLE_MS
        assert (seen.shot is not None) is (seen.reason is FrameReason.SHOT)
        if seen.shot is not None:
            assert finder.asked[-1] == "whole"
        tracks.append(seen.track or tracks[-1])
    assert tracks == sorted(tracks)
