"""A few attacks with the real models; ``python -m tests.bench.attacks`` plays all of them."""

from __future__ import annotations

from random import Random

import pytest

from agent.core.challenge_plan import Plan, Turn, TurnSide
from agent.core.reasons import Reason
from tests.vision.attacks import (
    End,
    Show,
    analyzer,
    flat_print,
    payer_of,
    poster,
    stills_by_key,
    swap,
    verified,
)

PLAN: Plan = (Turn(TurnSide.LEFT, 700),)


def play(show: Show, *, identity: bool = True) -> End:
    return verified(analyzer(), (PLAN, PLAN, PLAN), show, identity=identity)


def test_living_payer_who_follows_the_prompt_is_compared() -> None:
    """The positive control: without it the tests below would prove nothing."""
    assert play(payer_of("obama_podium", Random(1), 700, 700)).called


@pytest.mark.parametrize("tilt", [0.0, 10.0])
def test_flat_print_that_follows_every_prompt_is_not_compared(tilt: float) -> None:
    end = play(flat_print("biden_portrait", Random(3), tilt, tilt))
    assert not end.called
    assert end.reason in {Reason.LIVENESS_NOT_COMPLETED, Reason.LIVENESS_FAILED, Reason.FACE_UNUSABLE}


def test_stills_that_replace_each_other_are_not_compared() -> None:
    assert not play(stills_by_key("obama_podium", "obama_podium", Random(2))).called


def test_photo_that_replaces_the_person_who_turned_is_not_compared() -> None:
    assert not play(swap("biden_portrait", "obama_podium", Random(1))).called


def test_poster_is_no_customer() -> None:
    end = play(poster("obama_portrait", Random(1)))
    assert (end.called, end.reason) == (False, Reason.NO_FACE)
