"""The estimate of the API's clock from answers."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.http_channel import EARLIEST_S, LATEST_S, ClockOffset
from agent.core.reasons import Reason
from agent.errors import CompareError
from tests.compare.servers import SUCCESS, endpoint, http, replies
from tests.compare.test_client import client
from tests.texts import en

NOON_S = 1_795_000_000


def test_without_samples_the_wall_clock_is_used() -> None:
    assert ClockOffset().unix_s(5_000, NOON_S * 1_000) == NOON_S


def test_unset_clock_is_refused() -> None:
    with pytest.raises(CompareError) as caught:
        ClockOffset().unix_s(5_000, 0)
    assert caught.value.code == Reason.CLOCK
    assert "NTP" in en(caught.value.fix)


def test_earliest_plausible_time_is_accepted() -> None:
    assert ClockOffset().unix_s(5_000, EARLIEST_S * 1_000) == EARLIEST_S
    with pytest.raises(CompareError):
        ClockOffset().unix_s(5_000, EARLIEST_S * 1_000 - 1)


def test_sample_replaces_a_clock_at_1970_and_a_jump_of_the_wall_clock_has_no_effect() -> None:
    offset = ClockOffset()
    offset.add_sample(formatdate(NOON_S, usegmt=True), boot_ms=5_000)
    assert offset.unix_s(15_000, 0) == NOON_S + 10
    assert offset.unix_s(15_000, 2 * NOON_S * 1_000) == NOON_S + 10


def test_one_wrong_sample_has_no_effect() -> None:
    offset = ClockOffset()
    for shift in (0, 0, 86_400, 0, 0):
        offset.add_sample(formatdate(NOON_S + shift, usegmt=True), boot_ms=0)
    assert offset.unix_s(0, 0) == NOON_S


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 99 Foo 2026", "0" * 999]
)
def test_implausible_date_is_ignored(date: str) -> None:
    offset = ClockOffset()
    offset.add_sample(date, boot_ms=0)
    assert offset.unix_s(0, NOON_S * 1_000) == NOON_S


@given(st.text(max_size=60) | st.integers(0, LATEST_S * 2).map(lambda s: formatdate(s, usegmt=True)))
def test_any_header_gives_a_plausible_time(date: str) -> None:
    offset = ClockOffset()
    offset.add_sample(date, boot_ms=0)
    assert EARLIEST_S <= offset.unix_s(0, NOON_S * 1_000) <= LATEST_S


async def test_date_of_an_answer_without_tls_is_not_trusted() -> None:
    """Any machine of the network could set the clock of the signatures."""
    dated = http(SUCCESS, headers=f"Date: {formatdate(NOON_S, usegmt=True)}\r\n")
    async with endpoint(replies(dated)) as server, client(server.url()) as api:
        await api.compare(b"\xff\xd8\xff", b"\xff\xd8\xff", timeout_ms=20_000)
        assert api.clock_offset_ms() is None
