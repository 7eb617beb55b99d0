"""Slow cameras, pauses and changes of the person with the real models; more in ``tests.bench.pauses``."""

from __future__ import annotations

import pytest

from agent.errors import ModelError
from agent.vision.face_identity import FaceIdentity
from tests.vision.pauses import Playback, Visit, new_eye
from tests.vision.people import SPRITES

PERIODS_MS = (1_000, 500, 333, 200, 100)


@pytest.mark.parametrize("period_ms", PERIODS_MS)
@pytest.mark.parametrize("seed", range(3))
def test_one_person_with_pauses_matches_with_one_call(period_ms: int, seed: int) -> None:
    end = Playback(Visit(period_ms, paused=0.25), seed, SPRITES).run(new_eye())
    assert (end.reason, end.calls) == ("same_person", 1)


@pytest.mark.parametrize("seed", range(6))
def test_one_person_with_frames_in_bursts_matches(seed: int) -> None:
    end = Playback(Visit(400, paused=0.0, burst=4), seed, SPRITES).run(new_eye())
    assert end.reason == "same_person"


@pytest.mark.parametrize("period_ms", PERIODS_MS)
@pytest.mark.parametrize("seed", range(4))
def test_a_change_of_the_person_in_a_pause_is_face_swapped(period_ms: int, seed: int) -> None:
    visit = Visit(period_ms, other="biden_portrait", paused=0.0)
    end = Playback(visit, seed, SPRITES).run(new_eye())
    # at a low frame rate the holder may still be in the confirming frame
    assert end.reason == ("face_swapped" if end.has_changed else "same_person")


@pytest.mark.parametrize("period_ms", (500, 200, 100, 33))
@pytest.mark.parametrize("seed", range(2))
def test_one_person_before_a_strobed_camera_matches_with_one_call(period_ms: int, seed: int) -> None:
    end = Playback(Visit(period_ms, paused=0.0, strobed=True), seed, SPRITES).run(new_eye())
    assert (end.reason, end.calls) == ("same_person", 1)


@pytest.mark.parametrize("period_ms", (500, 200, 100, 33))
def test_a_change_of_the_person_before_a_strobed_camera_is_face_swapped(period_ms: int) -> None:
    visit = Visit(period_ms, other="biden_portrait", paused=0.0, strobed=True)
    end = Playback(visit, 0, SPRITES).run(new_eye())
    assert end.has_changed and end.reason == "face_swapped"


def absent() -> FaceIdentity:
    def load() -> None:
        raise ModelError("not installed", code="model_missing")

    return FaceIdentity(load)  # type: ignore[arg-type] # it returns nothing because it raises


@pytest.mark.parametrize("period_ms", PERIODS_MS)
@pytest.mark.parametrize("other", [None, "biden_portrait"])
def test_without_the_model_a_gap_is_neither_a_swap_nor_a_match(period_ms: int, other: str | None) -> None:
    for seed in range(3):
        visit = Visit(period_ms, other=other, paused=0.3)
        end = Playback(visit, seed, SPRITES).run(new_eye(absent()))
        assert end.reason != "face_swapped"
        assert end.calls <= 3
        if other is not None and end.has_changed:
            assert end.decision != "match"
