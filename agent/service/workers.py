"""Several processes on one listening socket: who is idle takes the next connection.

Each has its own models, queue, cache and share of the rate limits. A worker that dies is replaced.
"""

from __future__ import annotations

import multiprocessing
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Semaphore
from types import FrameType

_STOP_TIMEOUT_S = 5.0
_REBIRTH_PAUSE_S = 1.0
_CHECK_S = 0.5

Work = Callable[[socket.socket, Callable[[], object]], None]
"""What one process does with the listener; calls the function once it answers. Must be picklable."""


def supervise(count: int, listener: socket.socket, work: Work, announce: Callable[[], None]) -> None:
    """Keep ``count`` workers alive until SIGTERM or SIGINT; ``announce`` once all of them answer."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Semaphore(0)
    stopping: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    crew: list[SpawnProcess] = []
    try:
        crew = [_start(spawn.Process, listener, work, ready) for _ in range(count)]
        waiting = count
        while not stopping:
            while waiting and ready.acquire(timeout=0):
                waiting -= 1
                if waiting == 0:
                    announce()
            wait([worker.sentinel for worker in crew], timeout=_CHECK_S if not waiting else 0.05)
            for place, worker in enumerate(crew):
                if not worker.is_alive() and not stopping:
                    time.sleep(_REBIRTH_PAUSE_S)  # a worker that cannot start must not spin
                    crew[place] = _start(spawn.Process, listener, work, ready)
    finally:
        _stop(crew)
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(
    process: type[SpawnProcess], listener: socket.socket, work: Work, ready: Semaphore
) -> SpawnProcess:
    worker = process(target=_run, args=(work, listener, ready), name="facepay-service-worker", daemon=True)
    worker.start()
    return worker


def _run(work: Work, listener: socket.socket, ready: Semaphore) -> None:
    work(listener, ready.release)


def _stop(crew: list[SpawnProcess]) -> None:
    for worker in crew:
        worker.terminate()
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    for worker in crew:
        worker.join(max(0.0, deadline_s - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join()
