"""Memory of bodies whose signature is not verified yet: bounded, and moved to the account afterwards."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.service import endpoint
from agent.service.memory_budget import FlightBudget, Lease, SharedPool
from agent.service.worker_pool import WorkerPool
from tests.service.compareface_kit import call, fields
from tests.service.kit import APPID, running, slow_machine_config
from tests.service.pictures import photo

MB = 1_000_000
TOTAL = 104 * MB
claims = st.tuples(st.sampled_from("ABC"), st.integers(1, 40), st.integers(0, 7 * MB))


def cause_of(take: Callable[[], Lease]) -> str:
    """Empty: not refused."""
    try:
        take()
    except ApiFailure as failure:
        return str(failure.cause)
    return ""


@given(st.lists(claims, max_size=60))
def test_unverified_senders_leave_half_to_the_others(sequence: list[tuple[str, int, int]]) -> None:
    budget, by_account, by_address = FlightBudget(TOTAL), Counter[str](), Counter[int]()
    for account, number, size in sequence:
        with contextlib.suppress(ApiFailure):
            budget.take(size, account=account, address=f"address {number}", is_verified=False)
            by_account[account] += size
            by_address[number] += size
    assert by_account.total() <= TOTAL // 2
    assert all(each <= TOTAL // 4 for each in by_account.values())
    assert all(each <= TOTAL // 8 for each in by_address.values())
    for address in "ab":
        budget.take(TOTAL // 4, account="A", address=address)


@pytest.mark.parametrize("total", [52 * MB, 96 * MB, 200 * MB])
def test_one_address_without_a_key_leaves_memory_to_the_claimed_account(total: int) -> None:
    budget = FlightBudget(total)
    with contextlib.suppress(ApiFailure):
        while True:
            budget.take(100_000, account="7", address="6.6.6.6", is_verified=False)
    budget.take(12_300_000, account="7", address="10.0.0.1", is_verified=False)  # the largest body


def test_memory_of_a_claimed_account_is_not_that_of_the_account() -> None:
    """A sender without the key can claim an account, and must not use up the memory of the account."""
    budget = FlightBudget(TOTAL)
    for address in "12":
        budget.take(TOTAL // 8, account="7", address=address, is_verified=False)
    more = {"account": "7", "address": "3", "is_verified": False}
    assert cause_of(lambda: budget.take(1, **more)) == "memory_account"  # type: ignore[arg-type]
    for address in "12":
        budget.take(TOTAL // 8, account="7", address=address)


def test_verified_bytes_count_for_the_account_and_no_longer_for_the_unverified() -> None:
    budget = FlightBudget(TOTAL)
    leases = [
        budget.take(TOTAL // 8, account="7", address=address, is_verified=False) for address in ("1", "2")
    ]
    for lease in leases:
        lease.verify("7")
    for address in ("1", "2"):
        budget.take(TOTAL // 8, account="7", address=address, is_verified=False).verify("7")
    assert cause_of(lambda: budget.take(1, account="8", address="1")) == "memory_address"
    assert cause_of(lambda: budget.take(1, account="7", address="3")) == "memory_account"
    unverified = cause_of(lambda: budget.take(1, account="7", address="3", is_verified=False))
    assert unverified == "memory_account", "an account at its half begins no further body"


steps = st.tuples(st.sampled_from(["take", "verify", "shrink", "release"]), st.integers(0, 9), claims)


@given(st.lists(steps, max_size=120))
def test_no_sequence_with_verifications_exceeds_the_total_or_keeps_bytes(
    sequence: list[tuple[str, int, tuple[str, int, int]]],
) -> None:
    budget, held = FlightBudget(TOTAL), dict[int, tuple[Lease, str, int]]()
    for kind, slot, (account, number, size) in sequence:
        if kind == "take" and slot not in held:
            with contextlib.suppress(ApiFailure):
                lease = budget.take(size, account=account, address=str(number % 5), is_verified=False)
                held[slot] = (lease, account, size)
        elif slot in held:
            lease, of, before = held[slot]
            if kind == "verify":
                lease.verify(of)
            elif kind == "shrink":
                lease.shrink(size)
                held[slot] = (lease, of, min(before, size))
            else:
                held.pop(slot)[0].release()
        assert budget.used_bytes == sum(each for *_, each in held.values()) <= TOTAL
    for lease, of, _ in held.values():
        lease.release()
        lease.verify(of)
        lease.release()
    assert budget.used_bytes == 0 and not budget._bytes_of_holder


def test_memory_of_a_verified_compareface_body_counts_for_its_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budgets, seen = list[FlightBudget](), list[set[str]]()
    compare = WorkerPool.compare

    def budget(total_bytes: int, pool: SharedPool) -> FlightBudget:
        budgets.append(FlightBudget(total_bytes, pool))
        return budgets[-1]

    async def noting(self: WorkerPool, *values: Any) -> float:
        seen.append(set(budgets[-1]._bytes_of_holder))
        return await compare(self, *values)

    monkeypatch.setattr(endpoint, "FlightBudget", budget)
    monkeypatch.setattr(WorkerPool, "compare", noting)
    with running(slow_machine_config()) as service:
        assert "Score" in call(service, fields(photo("obama_podium"), photo("obama_portrait")))
    assert seen == [{"address 127.0.0.1", f"account {APPID}"}]
    assert not budgets[-1]._bytes_of_holder
