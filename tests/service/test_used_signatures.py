"""The memory of single-use signatures is bounded, and its cost does not depend on its size."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.compare.signature import Credential, sign
from agent.service import account_limits
from agent.service.account_limits import ExpiryRanges, LocalLimits, UsedSignatures
from agent.service.auth import Authenticator
from agent.service.settings import EXAMPLE_SECRET
from tests.service.kit import APPID, account


def admit(checks: Authenticator, header: str) -> None:
    asyncio.run(checks.permit(checks.verify(header)))


class CountingHeap(list[tuple[int, bytes]]):
    """Counts the entries that are read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        CountingHeap.reads += 1
        return super().__getitem__(index)


def test_request_does_not_read_all_entries() -> None:
    used = UsedSignatures()
    for number in range(30_000):
        used.add(number.to_bytes(20, "big"), 1_000 + number)
    used._expiry_heap = CountingHeap(used._expiry_heap)
    for _ in range(100):
        assert used.has_room(now_s=500) and (5).to_bytes(20, "big") in used
    assert CountingHeap.reads <= 200


def test_expired_entries_are_removed_and_others_are_kept() -> None:
    used = UsedSignatures(max_entries=2)
    used.add(b"a", 10)
    used.add(b"b", 20)
    assert not used.has_room(now_s=10)
    assert used.has_room(now_s=11)
    assert b"a" not in used and b"b" in used and len(used) == 1


def test_signature_that_expired_before_the_clock_was_set_back_is_not_accepted_again() -> None:
    """Its entry was removed, so a second use could not be recognised."""
    start_s = 1_800_000_000
    clock = [float(start_s)]
    checks = Authenticator((account("ONCE", single_use=True),), LocalLimits(), unix_s=lambda: clock[0])

    def code_of(nonce: int, now_s: int) -> int:
        signed = Credential(APPID, "ONCE"), EXAMPLE_SECRET
        try:
            admit(checks, sign(*signed, now_s=now_s, validity_s=60, nonce=nonce))
        except ApiFailure as failure:
            return failure.api_code
        return 0

    assert code_of(1, start_s) == 0
    clock[0] += 3_600  # a wrong time server
    assert code_of(2, start_s + 3_600) == 0
    clock[0] = start_s + 1
    assert code_of(1, start_s) == 9
    assert code_of(3, start_s + 1) == 0, "a new signature expires later"


def test_new_signatures_are_accepted_after_the_clock_was_ahead() -> None:
    """Only those are refused that expire when a signature of the wrong clock expired."""
    start_s, ahead_s = 1_800_000_000, 6 * 3_600
    limits, once = LocalLimits(), account("ONCE", single_use=True)
    limits.replace((once,))

    def code_of(now_s: int, digest: bytes) -> int:
        try:
            asyncio.run(limits.take(once, digest, now_s + 60, now_s))
        except ApiFailure as failure:
            return failure.api_code
        return 0

    days = range(start_s - 20 * 86_400, start_s, 8 * 3_600)  # the service runs for some time already
    for now_s in (*days, start_s, start_s + ahead_s, start_s + ahead_s + 120, start_s + ahead_s + 240):
        assert code_of(now_s, b"%d" % now_s) == 0
    for after_s in (1, 60, 3_600, ahead_s - 100, ahead_s + 500):
        assert code_of(start_s + after_s, b"new %d" % after_s) == 0, after_s
    assert code_of(start_s + ahead_s + 60, b"between two of the wrong clock") == 9


events = st.tuples(st.integers(0, 9), st.integers(0, 60), st.integers(1, 9), st.booleans())


@given(st.lists(events, max_size=60), st.integers(0, 3), st.integers(1, 3))
def test_no_signature_is_accepted_twice_with_any_clock(
    sequence: list[tuple[int, int, int, bool]], joined_s: int, ranges: int
) -> None:
    """``sequence``: signature, time of the clock, validity of a new signature, whether all are tried."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account_limits, "_JOINED_S", joined_s)
        patch.setattr(account_limits, "_RANGES_MAX", ranges)
        used, expiries, accepted = UsedSignatures(), dict[int, int](), set[int]()
        for number, now_s, validity_s, tries_all in sequence:
            expiries.setdefault(number, now_s + validity_s)
            for each in expiries if tries_all else [number]:
                digest, expires_s = bytes([each]), expiries[each]
                is_refused = now_s > expires_s or digest in used or used.may_have_been_removed(expires_s)
                if not is_refused and used.has_room(now_s):
                    assert each not in accepted
                    accepted.add(each)
                    used.add(digest, expires_s)


@given(st.lists(st.integers(0, 20_000), max_size=200))
def test_ranges_contain_each_expiry_and_stay_few(expiries: list[int]) -> None:
    ranges = ExpiryRanges()
    for each in expiries:
        ranges.add(each)
    assert all(each in ranges for each in expiries)
    assert ranges._ranges == sorted(ranges._ranges)
    gaps = [after[0] - before[1] for before, after in pairwise(ranges._ranges)]
    assert all(gap > 300 for gap in gaps)
    assert -1 not in ranges and 20_001 not in ranges


def test_number_of_ranges_is_bounded_and_the_latest_gaps_are_kept() -> None:
    ranges = ExpiryRanges()
    for number in range(1_500):
        ranges.add(number * 1_000)
    assert len(ranges._ranges) == 1_000
    assert 500 in ranges and 1_499_000 in ranges and 1_498_500 not in ranges


def test_full_memory_refuses_new_signatures_and_keeps_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = int(time.time())

    def header(nonce: int) -> str:
        return sign(Credential(APPID, "ONCE"), EXAMPLE_SECRET, now_s=now_s, validity_s=60, nonce=nonce)

    def failure_of(nonce: int) -> tuple[int, str]:
        with pytest.raises(ApiFailure) as caught:
            admit(checks, header(nonce))
        return caught.value.api_code, str(caught.value.cause)

    monkeypatch.setattr(account_limits, "UsedSignatures", lambda: UsedSignatures(max_entries=3))
    clock = [float(now_s)]
    checks = Authenticator((account("ONCE", single_use=True),), LocalLimits(), unix_s=lambda: clock[0])
    for nonce in range(3):
        admit(checks, header(nonce))
    assert failure_of(3) == (15, "signatures_full")
    assert failure_of(0) == (13, "")
    checks.replace((account("ONCE", single_use=True),))
    assert failure_of(0) == (13, ""), "a reload does not permit a second use"


def test_call_that_a_full_memory_refuses_uses_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_limits, "UsedSignatures", lambda: UsedSignatures(max_entries=1))
    once, limits = account("ONCE", single_use=True, rate_per_s=0.001, burst=2), LocalLimits()
    limits.replace((once,))
    asyncio.run(limits.take(once, b"1", 1_060, 1_000))
    with pytest.raises(ApiFailure) as caught:
        asyncio.run(limits.take(once, b"2", 1_060, 1_000))
    assert caught.value.cause == "signatures_full"
    asyncio.run(limits.take(once, b"3", 1_160, 1_100))


def test_refused_request_uses_no_memory() -> None:
    memory = LocalLimits()
    checks = Authenticator((account("ONCE", single_use=True, rate_per_s=0.001, burst=1),), memory)
    now_s = int(time.time())
    headers = [
        sign(Credential(APPID, "ONCE"), EXAMPLE_SECRET, now_s=now_s, validity_s=60, nonce=nonce)
        for nonce in range(50)
    ]
    admit(checks, headers[0])
    for each in headers[1:]:
        with pytest.raises(ApiFailure):
            admit(checks, each)
    assert len(memory._used["ONCE"]) == 1
