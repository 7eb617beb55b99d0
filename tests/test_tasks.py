"""Calls in threads that may be abandoned."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, wait

import pytest

from agent import tasks
from agent.mqtt.loop_queue import LoopQueue
from agent.tasks import Background, in_thread


def test_in_thread_result_and_error_reach_the_caller() -> None:
    def fail() -> None:
        raise CancelledError("down there")

    assert in_thread("adding", lambda: 3 + 4).result(20) == 7
    with pytest.raises(CancelledError, match="down there"):
        in_thread("failing", fail).result(20)


def test_in_thread_wait_ends_while_the_call_hangs() -> None:
    release = threading.Event()
    call = in_thread("hanging", release.wait)
    assert not wait([call], 0.01).done and not call.done()
    release.set()
    assert call.result(20)


async def test_in_thread_cancelled_wait_leaves_the_call_running() -> None:
    release = threading.Event()
    call = in_thread("hanging", release.wait)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.wrap_future(call)
    assert not call.done()
    release.set()
    assert await asyncio.wrap_future(call)


def test_in_thread_hanging_call_does_not_keep_the_process() -> None:
    script = "import threading; from agent.tasks import in_thread; in_thread('x', threading.Event().wait)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


class ClosingLoop(asyncio.SelectorEventLoop):
    """A loop that closes between the question whether it is closed and the call."""

    is_asked = False

    def is_closed(self) -> bool:
        return super().is_closed() and not self.is_asked


def test_call_of_another_thread_to_a_loop_that_closes_has_no_effect() -> None:
    loop, calls = ClosingLoop(), list[int]()
    queue = LoopQueue(loop, lambda _topic: True, lambda _client, _message: None)
    loop.close()
    loop.is_asked = True
    queue.call(calls.append, 1)
    loop.is_asked = False
    assert not calls


def test_in_thread_no_further_thread_is_an_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="no further thread"):
        in_thread("refused", lambda: 7).result(20)


async def test_keep_job_with_a_bug_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESTART_PAUSE_S", 0.0)
    starts, background = asyncio.Queue[None](), Background()

    async def job() -> None:
        starts.put_nowait(None)
        raise RuntimeError("can't start new thread")

    background.keep(job)
    async with asyncio.timeout(20):
        for _ in range(3):
            await starts.get()
    await background.close()


async def pauses_of(job_s: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before the starts of a job that runs for these times, in s, each until an exception."""
    at_s, pauses, left = [0.0], list[float](), list(job_s)
    monkeypatch.setattr(time, "monotonic", lambda: at_s[0])

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def job() -> None:
        if left:
            at_s[0] += left.pop(0)
            raise RuntimeError

    await tasks._repeat_after_bugs(job)
    return pauses


async def test_keep_job_with_a_lasting_bug_starts_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each start logs a traceback: every 10 s they would replace all other lines of the journal."""
    assert await pauses_of([0.0] * 9, monkeypatch) == [10, 20, 40, 60, 60, 60, 60, 60, 60]


async def test_keep_job_that_ran_long_starts_soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await pauses_of([0.0, 0.0, 39.0, 60.0, 0.0], monkeypatch) == [10, 20, 40, 10, 20]
