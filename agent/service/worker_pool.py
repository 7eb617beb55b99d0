"""Worker pool of the comparisons: parallel recognisers, a bounded queue, a cache of enrolled photos.

One thread and one recogniser with separate models per worker. Threads suffice, because OpenCV releases the
GIL while a network runs. So cache, queue, metrics and rate limits exist once.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from agent.compare.codes import REFERENCE_FLAG, SHOT_FLAG
from agent.compare.contract import ApiFailure
from agent.service.recogniser import Embedding, Recogniser, cosine
from agent.service.similarity import similarity

_BUSY, _NO_FEATURE = 15, -1103


class WorkerPool:
    """Runs comparisons outside the event loop, as many in parallel as recognisers.

    Args:
        queue_max: limit of waiting plus running comparisons; one more fails at once with code 15.
        cache_max: number of cached embeddings of second images, by sha256; 0: no cache. First images are
            shots of payers and are never cached.
    """

    def __init__(self, recognisers: Sequence[Recogniser], *, queue_max: int, cache_max: int) -> None:
        self._idle: queue.SimpleQueue[Recogniser] = queue.SimpleQueue()
        for recogniser in recognisers:
            self._idle.put(recogniser)
        self._queue_max = queue_max
        self._cache_max = cache_max
        self._cache: OrderedDict[bytes, Embedding] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._workers = ThreadPoolExecutor(len(recognisers), thread_name_prefix="recogniser")
        self.open = 0
        self.cache_hits = 0

    async def compare(self, first: bytes, second: bytes) -> float:
        """Similarity 0–100. Raises ``ApiFailure``: 15 for a full queue, image codes with a flag."""
        if self.open >= self._queue_max:
            raise ApiFailure(_BUSY, "the queue is full")
        self.open += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, self._work, first, second)
        finally:
            self.open -= 1

    def close(self) -> None:
        """Wait for the running comparisons, cancel the waiting ones, clear the cache."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._cache.clear()

    def _work(self, first: bytes, second: bytes) -> float:
        recogniser = self._idle.get()  # as many recognisers as threads, so one is always idle
        try:
            return self._compare(recogniser, first, second)
        finally:
            self._idle.put(recogniser)

    def _compare(self, recogniser: Recogniser, first: bytes, second: bytes) -> float:
        try:
            shot = recogniser.embed(first)
        except ApiFailure as failure:
            raise ApiFailure(failure.api_code, str(failure), fail_flag=SHOT_FLAG) from failure
        try:
            reference = self._reference(recogniser, second)
        except ApiFailure as failure:
            raise ApiFailure(failure.api_code, str(failure), fail_flag=REFERENCE_FLAG) from failure
        result = similarity(cosine(shot, reference))
        if not 0 <= result <= 100:
            raise ApiFailure(_NO_FEATURE, fail_flag=SHOT_FLAG)
        return result

    def _reference(self, recogniser: Recogniser, image: bytes) -> Embedding:
        key = hashlib.sha256(image).digest()
        with self._cache_lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                self.cache_hits += 1
                return self._cache[key]
        embedding = recogniser.embed(image)
        if self._cache_max:
            with self._cache_lock:
                self._cache[key] = embedding
                if len(self._cache) > self._cache_max:
                    self._cache.popitem(last=False)
        return embedding
