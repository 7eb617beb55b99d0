"""The worker pool: bounded queue, outside the event loop, cache of enrolled photos only."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from agent.compare.contract import ApiFailure
from agent.service.recogniser import Embedding, Recogniser
from agent.service.worker_pool import WorkerPool


class FakeRecogniser(Recogniser):
    """Identifies a person by the first byte, records the images, and can be blocked."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def embed(self, image: bytes | bytearray) -> Embedding:
        self.may_go.wait(10)
        image = bytes(image)
        self.images.append(image)
        if image == b"no face":
            raise ApiFailure(-1101)
        vector = np.zeros(128, np.float32)
        vector[image[0] % 128] = np.nan if image == b"odd" else 1
        return Embedding(vector, 1)


async def test_reference_is_cached_and_shot_is_not() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=4, cache_max=2)
    for _ in range(3):
        assert await pool.compare(bytearray(b"a1"), bytearray(b"a2")) == 100.0
    assert recogniser.images == [b"a1", b"a2", b"a1", b"a1"]
    assert pool.cache_hits == 2
    await pool.compare(bytearray(b"a1"), bytearray(b"b"))
    await pool.compare(bytearray(b"a1"), bytearray(b"c"))  # evicts the oldest entry
    await pool.compare(bytearray(b"a1"), bytearray(b"a2"))
    assert recogniser.images.count(b"a2") == 2
    pool.close()


async def test_cache_max_0_disables_the_cache() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=4, cache_max=0)
    await pool.compare(bytearray(b"a1"), bytearray(b"a2"))
    await pool.compare(bytearray(b"a1"), bytearray(b"a2"))
    assert recogniser.images.count(b"a2") == 2
    pool.close()


async def test_each_image_has_its_flag_and_failures_are_not_cached() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=4, cache_max=4)
    for first, second, code, flag in (
        (b"no face", b"no face", -1101, 1),
        (b"a", b"no face", -1101, 2),
        (b"a", b"no face", -1101, 2),
        (b"odd", b"odd", -1103, 1),
    ):
        with pytest.raises(ApiFailure) as caught:
            await pool.compare(bytearray(first), bytearray(second))
        assert (caught.value.api_code, caught.value.fail_flag) == (code, flag)
    assert recogniser.images.count(b"no face") == 3
    pool.close()


async def test_full_queue_fails_with_15_at_once_without_blocking_the_loop() -> None:
    recogniser = FakeRecogniser()
    recogniser.may_go.clear()
    pool = WorkerPool([recogniser], queue_max=2, cache_max=0)
    waiting = [asyncio.create_task(pool.compare(bytearray(b"a"), bytearray(b"a"))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ApiFailure) as caught:
        await pool.compare(bytearray(b"a"), bytearray(b"a"))
    assert caught.value.api_code == 15
    recogniser.may_go.set()
    assert await asyncio.gather(*waiting) == [100.0, 100.0]
    assert pool.open == 0
    assert await pool.compare(bytearray(b"a"), bytearray(b"a")) == 100.0
    pool.close()


async def test_cancelled_comparison_is_not_run() -> None:
    recogniser = FakeRecogniser()
    recogniser.may_go.clear()
    pool = WorkerPool([recogniser], queue_max=3, cache_max=0)
    first = asyncio.create_task(pool.compare(bytearray(b"a"), bytearray(b"a")))
    cancelled = asyncio.create_task(pool.compare(bytearray(b"cancelled"), bytearray(b"cancelled")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    recogniser.may_go.set()
    assert await first == 100.0
    pool.close()
    assert b"cancelled" not in recogniser.images


async def test_two_recognisers_run_in_parallel_and_share_the_cache() -> None:
    recognisers = [FakeRecogniser(), FakeRecogniser()]
    pool = WorkerPool(recognisers, queue_max=4, cache_max=4)
    for recogniser in recognisers:
        recogniser.may_go.clear()
    both = asyncio.gather(
        pool.compare(bytearray(b"a1"), bytearray(b"a2")), pool.compare(bytearray(b"b1"), bytearray(b"b2"))
    )
    await asyncio.sleep(0.05)
    assert pool.open == 2
    for recogniser in recognisers:
        recogniser.may_go.set()
    assert list(await both) == [100.0, 100.0]
    assert [len(recogniser.images) for recogniser in recognisers] == [2, 2], "one comparison per recogniser"
    await pool.compare(bytearray(b"a1"), bytearray(b"a2"))
    assert pool.cache_hits == 1, "the cache is shared"
    pool.close()
