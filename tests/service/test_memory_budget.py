"""The memory budget: its parts fit, no sequence of requests exceeds it, and everything is given back."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.errors import ConfigError
from agent.resources import config_file
from agent.service.memory_budget import DECODE_MAX_BYTES, DecodeBudget, FlightBudget, Lease, plan
from agent.service.settings import load_service

MB = 1_000_000
UNIT_HIGH_MB = 805  # MemoryHigh=768M of the unit, which counts in 1024s


def test_default_budget_fits_the_unit() -> None:
    assert load_service(config_file("service.toml")).memory_max_mb < UNIT_HIGH_MB


@given(st.integers(256, 20_000), st.integers(1, 32), st.integers(2, 2_000))
def test_parts_fit_into_the_budget_or_the_needed_budget_is_named(
    memory_mb: int, workers: int, connections: int
) -> None:
    try:
        parts = plan(memory_mb, workers, connections)
    except ValueError as error:
        needed = int(str(error).split("= ")[1])
        assert needed > memory_mb
        plan(needed, workers, connections)
    else:
        assert parts.decode_bytes >= DECODE_MAX_BYTES
        assert parts.flight_bytes + parts.decode_bytes + workers * 90 * MB < memory_mb * MB


def test_config_without_memory_for_its_workers_is_refused_with_the_number() -> None:
    with pytest.raises(ConfigError, match="memory_max_mb = "):
        load_service(config_file("service.toml"), workers=30)


steps = st.tuples(
    st.sampled_from(["take", "release", "shrink"]),
    st.integers(0, 9),
    st.sampled_from("ABC"),
    st.sampled_from("12345"),
    st.integers(0, 7 * MB),
)


@given(st.lists(steps, max_size=120))
def test_no_sequence_of_requests_exceeds_total_or_share(
    sequence: list[tuple[str, int, str, str, int]],
) -> None:
    total = 60 * MB
    budget, held = FlightBudget(total), dict[int, tuple[Lease, str, str, int]]()
    for kind, slot, account, address, size in sequence:
        if kind == "take" and slot not in held:
            try:
                held[slot] = (budget.take(size, account=account, address=address), account, address, size)
            except ApiFailure as failure:
                assert failure.api_code == 15 and failure.cause.startswith("memory")
        elif kind == "release" and slot in held:
            held.pop(slot)[0].release()
        elif kind == "shrink" and slot in held:
            lease, of, at, before = held[slot]
            lease.shrink(size)
            held[slot] = (lease, of, at, min(before, size))
        accounts, addresses = Counter[str](), Counter[str]()
        for _, of, at, now in held.values():
            accounts[of] += now
            addresses[at] += now
        assert budget.used_bytes == sum(accounts.values()) <= total
        assert all(each <= total // 2 for each in accounts.values())
        assert all(each <= total // 4 for each in addresses.values())
    for lease, *_ in held.values():
        lease.release()
        lease.release()
    assert budget.used_bytes == 0


@pytest.mark.parametrize(
    ("account", "address", "cause"),
    [("A", "3", "memory_account"), ("B", "1", "memory_address"), ("B", "3", "")],
)
def test_share_that_is_used_up_is_named(account: str, address: str, cause: str) -> None:
    budget, found = FlightBudget(60 * MB), ""
    for number in "12":
        budget.take(15 * MB, account="A", address=number)
    try:
        budget.take(1, account=account, address=address)
    except ApiFailure as failure:
        found = str(failure.cause)
    assert found == cause


def test_decoders_share_their_budget() -> None:
    budget, at_once, most, lock = DecodeBudget(100), 0, 0, threading.Lock()

    def decode() -> None:
        nonlocal at_once, most
        with budget.hold(40):
            with lock:
                at_once += 1
                most = max(most, at_once)
            done.wait(0.02)
            with lock:
                at_once -= 1

    done = threading.Event()
    threads = [threading.Thread(target=decode) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most <= 2
    with budget.hold(1_000):  # a larger size than the total gets the total
        pass
