"""Signing with the API's time: learned from answers, never from nonsense."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.clock_offset import EARLIEST_S, LATEST_S, ClockOffset
from agent.core.reasons import Reason
from agent.errors import CompareError
from tests.texts import en

NOON_S = 1_795_000_000


def test_nothing_learned_means_the_wall_clock() -> None:
    assert ClockOffset().unix_s(5_000, NOON_S * 1_000) == NOON_S


def test_a_clock_that_was_never_set_signs_nothing() -> None:
    with pytest.raises(CompareError) as caught:
        ClockOffset().unix_s(5_000, 0)
    assert caught.value.code == Reason.CLOCK
    assert "NTP" in en(caught.value.fix)


def test_an_answer_repairs_a_clock_at_1970_and_jumps_of_the_wall_clock_do_not_matter() -> None:
    skew = ClockOffset()
    skew.learn(formatdate(NOON_S, usegmt=True), boot_ms=5_000)
    assert skew.unix_s(15_000, 0) == NOON_S + 10
    assert skew.unix_s(15_000, 2 * NOON_S * 1_000) == NOON_S + 10


def test_one_wrong_answer_among_good_ones_is_outvoted() -> None:
    skew = ClockOffset()
    for shift in (0, 0, 86_400, 0, 0):
        skew.learn(formatdate(NOON_S + shift, usegmt=True), boot_ms=0)
    assert skew.unix_s(0, 0) == NOON_S


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 99 Foo 2026", "0" * 999]
)
def test_nonsense_is_not_learned(date: str) -> None:
    skew = ClockOffset()
    skew.learn(date, boot_ms=0)
    assert skew.unix_s(0, NOON_S * 1_000) == NOON_S


@given(st.text(max_size=60) | st.integers(0, LATEST_S * 2).map(lambda s: formatdate(s, usegmt=True)))
def test_no_header_breaks_it_or_leads_outside_the_plausible(date: str) -> None:
    skew = ClockOffset()
    skew.learn(date, boot_ms=0)
    assert EARLIEST_S <= skew.unix_s(0, NOON_S * 1_000) <= LATEST_S
