"""Work beside the main flow: asyncio tasks without an awaiting caller, and calls in threads that may hang.

``Background`` keeps a reference to each task (the event loop keeps only a weak one) and logs each bug.
``Background.keep`` starts a job again after a bug.
``in_thread`` runs a blocking call that has no time limit (a driver, DNS) in a thread that may be abandoned.
``call_soon`` passes a call from such a thread to an event loop.
"""

import asyncio
import errno
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
RESTART_PAUSE_S = 10.0  # between the bug of an endless job and its next start; doubled after each further bug
RESTART_PAUSE_MAX_S = 60.0


def in_thread(name: str, function: Callable[[], T]) -> Future[T]:
    """Start ``function`` in a new daemon thread; returns its future at once.

    Where the system allows no further thread (``TasksMax``, memory), the future has an ``OSError`` (EAGAIN).

    The caller may stop waiting: the cost is one thread, and the process can still end. A thread pool does not
    fit: a hanging call keeps a worker, and the interpreter waits for each worker at its end. In a coroutine
    wait with ``asyncio.wrap_future``; cancelling the wait does not cancel ``function``.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            value = function()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:  # "can't start new thread"
        refused = OSError(errno.EAGAIN, "no further thread can be started")
        refused.__cause__ = error
        future.set_exception(refused)
    return future


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: Any) -> None:
    """As ``loop.call_soon_threadsafe``; no effect on a closed loop, which ``is_closed`` could miss."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


async def end_tasks(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks and wait for their ends. None is no task. An exception of a task is not raised."""
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)


class Background:
    """Set of small tasks without an awaiting caller. Logs a bug in a task; ``close`` ends all tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job for the rest of the process. After an exception the job starts again, after a pause.

        Without its jobs the process continues to serve and reports outdated conditions.
        A job that returns has ended.
        """
        self.add(_repeat_after_bugs(job))

    async def finish(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for the running tasks, then cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        await self.close()

    async def close(self) -> None:
        await end_tasks(*self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("bug_in_background", exc_info=bug)


async def _repeat_after_bugs(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    pause_s = RESTART_PAUSE_S
    while True:
        began_s = time.monotonic()
        try:
            return await job()
        except Exception:
            log.exception("bug_in_background")
        if time.monotonic() - began_s >= pause_s:  # the job worked for a time
            pause_s = RESTART_PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, RESTART_PAUSE_MAX_S)
