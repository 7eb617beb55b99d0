"""The line before the recogniser: bounded, off the event loop, with a memory for enrolled photos only."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from agent.compare.contract import ApiFailure
from agent.service.recogniser import Embedding, Recogniser
from agent.service.worker_pool import WorkerPool


class Counting(Recogniser):
    """A recogniser that knows two persons by the first byte, and can be held."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def embed(self, image: bytes) -> Embedding:
        self.may_go.wait(10)
        self.seen.append(image)
        if image == b"nobody":
            raise ApiFailure(-1101)
        vector = np.zeros(128, np.float32)
        vector[image[0] % 128] = np.nan if image == b"odd" else 1
        return Embedding(vector, 1)


async def test_the_reference_is_described_once_the_shot_always() -> None:
    recogniser = Counting()
    desk = WorkerPool([recogniser], queue_max=4, cache_max=2)
    for _ in range(3):
        assert await desk.compare(b"a1", b"a2") == 100.0
    assert recogniser.seen == [b"a1", b"a2", b"a1", b"a1"]
    assert desk.cache_hits == 2
    await desk.compare(b"a1", b"b")
    await desk.compare(b"a1", b"c")  # the oldest makes room
    await desk.compare(b"a1", b"a2")
    assert recogniser.seen.count(b"a2") == 2
    desk.close()


async def test_the_cache_can_be_switched_off() -> None:
    recogniser = Counting()
    desk = WorkerPool([recogniser], queue_max=4, cache_max=0)
    await desk.compare(b"a1", b"a2")
    await desk.compare(b"a1", b"a2")
    assert recogniser.seen.count(b"a2") == 2
    desk.close()


async def test_each_side_has_its_flag_and_failures_are_not_remembered() -> None:
    recogniser = Counting()
    desk = WorkerPool([recogniser], queue_max=4, cache_max=4)
    for first, second, code, flag in (
        (b"nobody", b"nobody", -1101, 1),
        (b"a", b"nobody", -1101, 2),
        (b"a", b"nobody", -1101, 2),
        (b"odd", b"odd", -1103, 1),
    ):
        with pytest.raises(ApiFailure) as caught:
            await desk.compare(first, second)
        assert (caught.value.api_code, caught.value.fail_flag) == (code, flag)
    assert recogniser.seen.count(b"nobody") == 3
    desk.close()


async def test_a_full_line_says_15_at_once_and_the_loop_stays_free() -> None:
    recogniser = Counting()
    recogniser.may_go.clear()
    desk = WorkerPool([recogniser], queue_max=2, cache_max=0)
    waiting = [asyncio.create_task(desk.compare(b"a", b"a")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ApiFailure) as caught:
        await desk.compare(b"a", b"a")
    assert caught.value.api_code == 15
    recogniser.may_go.set()
    assert await asyncio.gather(*waiting) == [100.0, 100.0]
    assert desk.open == 0
    assert await desk.compare(b"a", b"a") == 100.0
    desk.close()


async def test_who_left_the_line_is_not_worked_for() -> None:
    recogniser = Counting()
    recogniser.may_go.clear()
    desk = WorkerPool([recogniser], queue_max=3, cache_max=0)
    first = asyncio.create_task(desk.compare(b"a", b"a"))
    gone = asyncio.create_task(desk.compare(b"gone", b"gone"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    recogniser.may_go.set()
    assert await first == 100.0
    desk.close()
    assert b"gone" not in recogniser.seen


async def test_two_recognisers_work_side_by_side_and_share_the_memory() -> None:
    crew = [Counting(), Counting()]
    desk = WorkerPool(crew, queue_max=4, cache_max=4)
    for recogniser in crew:
        recogniser.may_go.clear()
    both = asyncio.gather(desk.compare(b"a1", b"a2"), desk.compare(b"b1", b"b2"))
    await asyncio.sleep(0.05)
    assert desk.open == 2
    for recogniser in crew:
        recogniser.may_go.set()
    assert list(await both) == [100.0, 100.0]
    assert [len(recogniser.seen) for recogniser in crew] == [2, 2], "neither waited for the other"
    await desk.compare(b"a1", b"a2")
    assert desk.cache_hits == 1, "whoever describes a reference, both know it"
    desk.close()
