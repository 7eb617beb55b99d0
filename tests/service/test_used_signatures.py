"""The memory of single-use signatures is bounded, and its cost does not depend on its size."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from agent.compare.contract import ApiFailure
from agent.compare.signature import Credential, sign
from agent.service import account_limits
from agent.service.account_limits import MemoryLimits, UsedSignatures
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
    used._ends = CountingHeap(used._ends)
    for _ in range(100):
        assert used.has_room(now_s=500) and (5).to_bytes(20, "big") in used
    assert CountingHeap.reads <= 200


def test_expired_entries_are_removed_and_others_are_kept() -> None:
    used = UsedSignatures(most=2)
    used.add(b"a", 10)
    used.add(b"b", 20)
    assert not used.has_room(now_s=10)
    assert used.has_room(now_s=11)
    assert b"a" not in used and b"b" in used and len(used) == 1


def test_signature_that_expired_before_the_clock_was_set_back_is_not_accepted_again() -> None:
    """Its entry was removed, so a second use could not be recognised."""
    start_s = 1_800_000_000
    clock = [float(start_s)]
    checks = Authenticator((account("ONCE", single_use=True),), MemoryLimits(), unix_s=lambda: clock[0])

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


def test_full_memory_refuses_new_signatures_and_keeps_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = int(time.time())

    def header(nonce: int) -> str:
        return sign(Credential(APPID, "ONCE"), EXAMPLE_SECRET, now_s=now_s, validity_s=60, nonce=nonce)

    def failure_of(nonce: int) -> tuple[int, str]:
        with pytest.raises(ApiFailure) as caught:
            admit(checks, header(nonce))
        return caught.value.api_code, str(caught.value.cause)

    monkeypatch.setattr(account_limits, "UsedSignatures", lambda: UsedSignatures(most=3))
    clock = [float(now_s)]
    checks = Authenticator((account("ONCE", single_use=True),), MemoryLimits(), unix_s=lambda: clock[0])
    for nonce in range(3):
        admit(checks, header(nonce))
    assert failure_of(3) == (15, "signatures_full")
    assert failure_of(0) == (13, "")
    checks.replace((account("ONCE", single_use=True),))
    assert failure_of(0) == (13, ""), "a reload does not permit a second use"


def test_call_that_a_full_memory_refuses_uses_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_limits, "UsedSignatures", lambda: UsedSignatures(most=1))
    once, limits = account("ONCE", single_use=True, rate_per_s=0.001, burst=2), MemoryLimits()
    limits.replace((once,))
    asyncio.run(limits.take(once, b"1", 1_060, 1_000))
    with pytest.raises(ApiFailure) as caught:
        asyncio.run(limits.take(once, b"2", 1_060, 1_000))
    assert caught.value.cause == "signatures_full"
    asyncio.run(limits.take(once, b"3", 1_160, 1_100))


def test_refused_request_uses_no_memory() -> None:
    memory = MemoryLimits()
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
