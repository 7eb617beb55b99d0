"""The worker pool: bounded queue, outside the event loop, cache of enrolled photos only."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
from agent.service.memory_budget import DECODE_MAX_BYTES, DecodeBudget
from agent.service.recogniser import Embedding, Recogniser
from agent.service.worker_pool import WorkerPool


class FakeRecogniser(Recogniser):
    """Identifies a person by the first byte, records the images, and can be blocked."""

    def __init__(self) -> None:
        self.memory = DecodeBudget(DECODE_MAX_BYTES)
        self.images: list[bytes] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def embed(self, image: bytes | bytearray) -> Embedding:
        self.may_go.wait(60)
        image = bytes(image)
        self.images.append(image)
        if image == b"no face":
            raise ApiFailure(-1101)
        if image == b"large":
            raise ApiFailure(15, cause=Cause.MEMORY)
        vector = np.zeros(128, np.float32)
        vector[image[0] % 128] = np.nan if image == b"odd" else 1
        return Embedding(vector, 1)

    def embed_reference(self, image: bytes | bytearray) -> Embedding:
        return self.embed(image)


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


def refuse_to_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_comparison_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that cannot start at its first comparison would keep its recogniser for ever."""
    pool = WorkerPool([FakeRecogniser(), FakeRecogniser()], queue_max=4, cache_max=0)
    monkeypatch.setattr(threading.Thread, "start", refuse_to_start)
    pairs = [(bytearray(b"a"), bytearray(b"a")) for _ in range(4)]
    assert await asyncio.gather(*(pool.compare(*pair) for pair in pairs)) == [100.0] * 4
    assert pool.open == 0
    pool.close()


@pytest.mark.parametrize("allowed", [0, 1])
def test_pool_without_a_thread_is_not_made(allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_or_refuse(thread: threading.Thread) -> None:
        if len(started) == allowed:
            refuse_to_start(thread)
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        WorkerPool([FakeRecogniser(), FakeRecogniser()], queue_max=4, cache_max=0)
    for thread in started:  # no thread waits for one that never starts
        thread.join(60)
        assert not thread.is_alive()


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
        assert caught.value.cause == ("vector" if code == -1103 else "")
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
    assert (caught.value.api_code, caught.value.cause) == (15, "queue_length")
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


def busy(recogniser: FakeRecogniser, pool: WorkerPool, count: int) -> list[asyncio.Task[float]]:
    """Comparisons of which the first runs and the others wait."""
    recogniser.may_go.clear()
    return [asyncio.create_task(pool.compare(bytearray(b"%d" % n), bytearray(b"ref"))) for n in range(count)]


async def cause_of(pool: WorkerPool, begun_s: float | None = None, shot: bytes = b"a") -> str:
    with pytest.raises(ApiFailure) as caught:
        await pool.compare(bytearray(shot), bytearray(b"a"), begun_s)
    assert (caught.value.api_code, caught.value.fail_flag) == (15, None)
    return str(caught.value.cause)


async def test_queue_without_time_for_an_answer_refuses_at_once() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=100, cache_max=0, answer_within_s=60)
    waiting = busy(recogniser, pool, 3)
    await asyncio.sleep(0)
    long_ago_s = time.monotonic() - 59.9
    assert await cause_of(pool, long_ago_s) == "queue_time"
    with pytest.raises(ApiFailure):
        pool.admit(long_ago_s)
    pool.admit(time.monotonic())
    recogniser.may_go.set()
    assert await asyncio.gather(*waiting) == [0.0, 0.0, 0.0]
    slow_client = await pool.compare(bytearray(b"a"), bytearray(b"a"), long_ago_s)
    assert slow_client == 100.0, "an idle recogniser serves a slow client, too"
    pool.close()


async def test_refusals_without_memory_do_not_shorten_the_estimated_duration() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=100, cache_max=0, answer_within_s=60)
    for _ in range(30):
        assert await cause_of(pool, shot=b"large") == "memory"
    waiting = busy(recogniser, pool, 2)
    await asyncio.sleep(0)
    with pytest.raises(ApiFailure):  # 150 ms are left for two comparisons of 100 ms and this one
        pool.admit(time.monotonic() - 59.85)
    recogniser.may_go.set()
    await asyncio.gather(*waiting)
    pool.close()


async def test_newest_comparison_runs_first_under_overload() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=100, cache_max=0, answer_within_s=60)
    waiting = busy(recogniser, pool, 3)
    await asyncio.sleep(0)
    pool._waiting[0].queued_s -= 31  # the oldest has waited more than half of the time
    recogniser.may_go.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    shots = [image for image in recogniser.images if image != b"ref"]
    assert shots[:2] == [b"0", b"2"]
    pool.close()


async def test_comparison_that_waited_too_long_is_not_run() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=100, cache_max=0, answer_within_s=0.25)
    waiting = busy(recogniser, pool, 2)
    await asyncio.sleep(0.5)
    recogniser.may_go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[1], ApiFailure) and results[1].cause == "too_late"
    assert b"1" not in recogniser.images
    pool.close()


async def test_pictures_are_overwritten_after_every_end() -> None:
    recogniser = FakeRecogniser()
    pool = WorkerPool([recogniser], queue_max=2, cache_max=0)
    pictures = [(bytearray(b"shot"), bytearray(b"ref")) for _ in range(4)]
    assert await pool.compare(*pictures[0]) == 0.0
    recogniser.may_go.clear()
    running, cancelled = (asyncio.create_task(pool.compare(*each)) for each in pictures[1:3])
    await asyncio.sleep(0)
    with pytest.raises(ApiFailure):
        await pool.compare(*pictures[3])
    for task in (running, cancelled):
        task.cancel()
    await asyncio.gather(running, cancelled, return_exceptions=True)
    assert bytes(pictures[1][0]) == b"shot", "a thread reads this picture"
    recogniser.may_go.set()
    await pool.join()
    assert all(not any(first) and not any(second) for first, second in pictures)
    assert b"ref" not in recogniser.images[2:], "a comparison without a client ends after its first picture"
    assert pool.open == 0
    pool.close()
