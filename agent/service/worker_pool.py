"""Worker pool of the comparisons: parallel recognisers, a queue bounded by time, a cache of enrolled photos.

One thread and one recogniser with separate models per worker. Threads suffice, because OpenCV and
OpenVINO release the GIL while a network runs. So cache, queue, metrics and rate limits exist once.

The queue is bounded by *time*: a client stops waiting after seconds, and an answer after that time is lost
work. A comparison that cannot end in time is refused at once. Above half of that time the newest comparison
runs first: the client of the oldest one is the first to leave.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from agent.compare.codes import REFERENCE_FLAG, SHOT_FLAG
from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
from agent.service.forms import wipe
from agent.service.recogniser import Recogniser, cosine, similarity
from agent.service.reference_cache import ReferenceCache

_BUSY, _NO_FEATURE = 15, -1103
_FIRST_MEAN_S = 0.1  # before anything was measured
_MEAN_SHARE = 0.2  # of the newest comparison in the moving average of the duration
_STUCK_S = 30.0  # far above the slowest comparison


class _Job:
    """One comparison. Owns both pictures and overwrites them at its end."""

    def __init__(self, shot: bytearray, reference: bytearray, queued_s: float, until_s: float) -> None:
        self.shot, self.reference = shot, reference
        self.queued_s, self.until_s = queued_s, until_s
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_dropped = False
        self.is_refused = False  # with code 15, before the end of the comparison

    def is_late(self, now_s: float, mean_s: float) -> bool:
        """Whether the time for the answer is over, and the wait here was longer than one comparison."""
        return now_s > self.until_s and now_s - self.queued_s > mean_s

    def wipe(self) -> None:
        wipe(self.shot)
        wipe(self.reference)


class WorkerPool:
    """Runs comparisons outside the event loop, as many in parallel as recognisers. Starts all its threads.

    Args:
        queue_max: limit of waiting plus running comparisons.
        cache_max: number of cached embeddings of second images, by sha256; 0: no cache. First images are
            shots of payers and are never cached.
        answer_within_s: time from the request to its answer; a comparison that waits longer is refused.
        waited: receives the seconds that each comparison waited for a recogniser.
    """

    def __init__(
        self,
        recognisers: Sequence[Recogniser],
        *,
        queue_max: int,
        cache_max: int,
        answer_within_s: float = 2.0,
        waited: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._idle, self._size = list(recognisers), len(recognisers)
        self._queue_max = queue_max
        self._within_s = answer_within_s
        self._observe_wait = waited
        self._cache = ReferenceCache(cache_max)
        self._workers = _started_workers(len(recognisers))
        self._waiting: deque[_Job] = deque()
        self._running: dict[_Job, float] = {}
        self._futures: set[asyncio.Future[float | ApiFailure]] = set()
        self._mean_s = _FIRST_MEAN_S

    @property
    def open(self) -> int:
        """Comparisons that wait or run."""
        return len(self._waiting) + len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def cache_hits(self) -> int:
        return self._cache.hits

    def is_stuck(self) -> bool:
        """Whether every recogniser has run the same comparison for 30 s: only a restart helps."""
        old_s = time.monotonic() - _STUCK_S
        return len(self._running) >= self._size and all(at_s < old_s for at_s in self._running.values())

    def admit(self, begun_s: float) -> None:
        """Check whether a request that began at ``begun_s`` (monotonic) can be answered in time.

        Raises ``ApiFailure`` 15: too many comparisons, or their estimated duration is too long.
        """
        if self.open >= self._queue_max:
            raise ApiFailure(_BUSY, "the queue is full", cause=Cause.QUEUE_LENGTH)
        wait_s = max(0, self.open - self._size + 1) * self._mean_s / self._size
        # A recogniser that is idle serves any client, also a slow one: nothing else needs the recogniser.
        if wait_s and time.monotonic() + wait_s + self._mean_s > begun_s + self._within_s:
            raise ApiFailure(_BUSY, "the queue is too long for an answer in time", cause=Cause.QUEUE_TIME)

    async def compare(self, shot: bytearray, reference: bytearray, begun_s: float | None = None) -> float:
        """Similarity 0–100. Overwrites both pictures at the end, also after a cancellation.

        Args:
            begun_s: start of the request, monotonic seconds; by default now.
        Raises:
            ApiFailure: 15 as ``admit``, or after too long a wait; image codes with a flag.
        """
        now_s = time.monotonic()
        begun_s = now_s if begun_s is None else begun_s
        job = _Job(shot, reference, now_s, begun_s + self._within_s)
        try:
            self.admit(begun_s)
            await self._await_turn(job)
        except BaseException:
            job.wipe()
            raise
        return await self._run_job(job)

    async def join(self) -> None:
        """Wait for the running comparisons. Their results reach this event loop, so the loop must not end."""
        while self._futures:
            await asyncio.wait(self._futures)

    def close(self) -> None:
        """End the threads and clear the cache. No comparison waits any more."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._cache.clear()

    async def _await_turn(self, job: _Job) -> None:
        """Wait for a recogniser."""
        self._waiting.append(job)
        self._start_waiting()
        try:
            await job.started
        except asyncio.CancelledError:
            if job in self._waiting:
                self._waiting.remove(job)
            elif job in self._running:  # its turn came, and its client has left in the same moment
                self._release(job, None)
            raise
        self._observe_wait(time.monotonic() - job.queued_s)

    def _start_waiting(self) -> None:
        now_s = time.monotonic()
        while self._waiting and self._waiting[0].is_late(now_s, self._mean_s):
            late_job = self._waiting.popleft()
            if not late_job.started.done():
                late_job.started.set_exception(ApiFailure(_BUSY, "waited too long", cause=Cause.TOO_LATE))
        while self._waiting and len(self._running) < self._size:
            is_overload = now_s - self._waiting[0].queued_s > self._within_s / 2
            job = self._waiting.pop() if is_overload else self._waiting.popleft()
            if not job.started.done():
                self._running[job] = now_s
                job.started.set_result(None)

    async def _run_job(self, job: _Job) -> float:
        recogniser = self._idle.pop()  # as many recognisers as running jobs, so one is always idle
        future = asyncio.get_running_loop().run_in_executor(self._workers, self._embed_both, recogniser, job)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        future.add_done_callback(lambda _: self._release(job, recogniser))
        try:
            result = await asyncio.shield(future)
        except asyncio.CancelledError:
            job.is_dropped = True  # the thread ends after its current picture
            future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise
        if isinstance(result, ApiFailure):
            raise result.of_image(result.fail_flag)
        return result

    def _release(self, job: _Job, recogniser: Recogniser | None) -> None:
        took_s = time.monotonic() - self._running.pop(job)
        if recogniser is not None:
            self._idle.append(recogniser)
            if not (job.is_dropped or job.is_refused):
                self._mean_s += _MEAN_SHARE * (took_s - self._mean_s)
        self._start_waiting()

    def _embed_both(self, recogniser: Recogniser, job: _Job) -> float | ApiFailure:
        """The result, or a failure without a traceback, whose frames would refer to decoded pictures."""
        try:
            return _compare(recogniser, self._cache, job)
        except ApiFailure as failure:
            job.is_refused = failure.api_code == _BUSY
            return failure.of_image(failure.fail_flag)
        finally:
            job.wipe()


def _started_workers(count: int) -> ThreadPoolExecutor:
    """A pool whose threads are all running. Raises ``RuntimeError``: the system allows no further thread.

    The pool starts a thread at a later call otherwise. When that start fails, the call stays in its queue,
    so the recogniser of the call could never be used again.
    """
    all_running = threading.Barrier(count)
    workers = ThreadPoolExecutor(count, thread_name_prefix="recogniser")
    try:
        for _ in range(count):
            workers.submit(all_running.wait)
    except RuntimeError:
        all_running.abort()
        workers.shutdown(wait=False)
        raise
    return workers


def _compare(recogniser: Recogniser, cache: ReferenceCache, job: _Job) -> float:
    try:
        shot = recogniser.embed(job.shot)
    except ApiFailure as failure:
        raise failure.of_image(SHOT_FLAG) from failure
    if job.is_dropped:
        raise ApiFailure(_BUSY, "the client has left")
    try:
        reference = cache.get(job.reference, recogniser.embed_reference)
    except ApiFailure as failure:
        raise failure.of_image(REFERENCE_FLAG) from failure
    result = similarity(cosine(shot, reference))
    if not 0 <= result <= 100:
        raise ApiFailure(_NO_FEATURE, fail_flag=SHOT_FLAG, cause=Cause.VECTOR)
    return result
