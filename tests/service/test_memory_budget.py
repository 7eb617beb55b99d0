"""The memory budget: its parts fit, no sequence of requests exceeds it, and everything is given back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.errors import ConfigError
from agent.resources import config_file
from agent.service.image_decoder import inspected
from agent.service.memory_budget import (
    DECODE_MAX_BYTES,
    DecodeBudget,
    FlightBudget,
    Lease,
    SharedPool,
    plan,
)
from agent.service.recogniser import Recogniser
from agent.service.settings import load_service
from tests.service.pictures import plain

MB = 1_000_000
REQUEST_MAX = 26 * MB  # more than one body and two downloads
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
        assert parts.flight_bytes <= parts.shared_bytes
        most = max(parts.shared_bytes, parts.decode_bytes + REQUEST_MAX)
        assert most + workers * 90 * MB < memory_mb * MB


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


kinds = st.sampled_from(["body", "picture", "end of a body", "end of a picture"])


@given(st.lists(st.tuples(kinds, st.integers(0, 40 * MB)), max_size=60))
def test_bodies_above_one_request_and_pictures_never_exceed_their_common_part(
    sequence: list[tuple[str, int]],
) -> None:
    together, decode = 100 * MB, 70 * MB
    pool = SharedPool(together)
    bodies, pictures = FlightBudget(60 * MB, pool), DecodeBudget(decode, pool)
    leases, decoding = list[Lease](), list[tuple[int, ExitStack]]()
    for number, (kind, size) in enumerate(sequence):
        decoded = sum(held for held, _ in decoding)
        if kind == "body":
            with suppress(ApiFailure):
                leases.append(bodies.take(size, account=f"{number}", address=f"{number}"))
        elif kind == "picture" and decoded + size <= decode:  # otherwise it waits
            stack = ExitStack()
            try:
                stack.enter_context(pictures.hold(size))
                decoding.append((size, stack))
            except ApiFailure as failure:
                assert (failure.api_code, failure.cause) == (15, "memory")
                assert bodies.used_bytes + decoded + size > together
                assert bodies.used_bytes > REQUEST_MAX
        elif kind == "end of a body" and leases:
            leases.pop().release()
        elif kind == "end of a picture" and decoding:
            decoding.pop()[1].close()
        decoded = sum(held for held, _ in decoding)
        assert bodies.used_bytes + decoded <= together or bodies.used_bytes <= REQUEST_MAX
    for lease in leases:
        lease.release()
    for _, stack in decoding:
        stack.close()
    pool.change(body=together)  # everything was given back


@pytest.mark.parametrize(
    ("size_px", "bodies", "code"),
    [((640, 640), 30 * MB, -1101), ((2_000, 4_000), 30 * MB, 15), ((2_000, 4_000), 26 * MB, -1101)],
)
def test_picture_without_a_face_needs_memory_for_the_large_search(
    size_px: tuple[int, int], bodies: int, code: int
) -> None:
    pool = SharedPool(90 * MB)  # the decoder of the larger picture fits: 48 MB
    pool.change(body=bodies)
    recogniser = Recogniser(memory=DecodeBudget(DECODE_MAX_BYTES, pool))
    with pytest.raises(ApiFailure) as failure:
        recogniser.embed(plain(*size_px, ".jpg"))
    assert failure.value.api_code == code
    pool.change(body=90 * MB - bodies)  # everything was given back


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


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_search_waits_for_the_end_of_another_picture_and_a_second_search_is_refused() -> None:
    budget, held, extended = DecodeBudget(100, SharedPool(1_000 * MB)), threading.Event(), threading.Event()

    def search() -> None:
        with budget.hold(40):
            held.set()
            with budget.extend(30):
                extended.set()

    with budget.hold(40):
        thread = in_thread(search)
        assert held.wait(30) and not extended.wait(0.1)
        with pytest.raises(ApiFailure) as failure, budget.extend(30):  # each would wait for the other
            pass
        assert (failure.value.api_code, failure.value.cause) == (15, "memory") and not extended.is_set()
    thread.join(30)
    assert extended.is_set()
    with budget.hold(100):  # everything was given back
        pass


def test_smaller_pictures_do_not_overtake_a_larger_one_that_waits() -> None:
    budget, order, second = DecodeBudget(100, SharedPool(1_000 * MB)), list[str](), threading.Event()

    def decode(name: str, size: int) -> Callable[[], None]:
        def work() -> None:
            with budget.hold(size):
                order.append(name)

        return work

    with budget.hold(40):
        large = in_thread(decode("large", 90))
        while not budget._queue.locked():
            second.wait(0.01)
        small = in_thread(decode("small", 40))  # would fit now
        second.wait(0.1)
        assert not order
    large.join(30)
    small.join(30)
    assert order == ["large", "small"]


def test_two_workers_of_the_default_budget_decode_photos_of_12_megapixels_at_once() -> None:
    cost = inspected(plain(4_000, 3_000, ".jpg")).cost_bytes
    config = load_service(config_file("service.toml"), workers=2)
    assert 2 * cost <= config.memory_plan().decode_bytes


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
