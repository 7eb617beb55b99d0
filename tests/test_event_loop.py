"""Name lookups without an answer block neither other work nor the end of the loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from agent.event_loop import HANGING_MAX, AgentEventLoop


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name server that sends no answer before the event is set."""
    answers, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *more: int) -> object:
        if host == "silent.example":
            answers.wait()
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return real(host, *more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield answers
    answers.set()


def test_getaddrinfo_result_and_errors_are_those_of_the_system() -> None:
    async def look_up() -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert found == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        with pytest.raises(UnicodeError):
            await loop.getaddrinfo("x" * 70 + ".example", 80)

    with asyncio.Runner(loop_factory=AgentEventLoop) as runner:
        runner.run(look_up())


def test_getaddrinfo_hanging_lookups_are_limited_and_do_not_block_other_work(silent: threading.Event) -> None:
    async def look_up() -> None:
        loop = asyncio.get_running_loop()
        hanging = [asyncio.create_task(loop.getaddrinfo("silent.example", 80)) for _ in range(HANGING_MAX)]
        await asyncio.sleep(0)
        assert await asyncio.to_thread(lambda: 7) == 7
        with pytest.raises(socket.gaierror, match="too many"):
            await loop.getaddrinfo("silent.example", 80)
        for task in hanging[1:]:
            task.cancel()
        silent.set()
        with pytest.raises(socket.gaierror, match="no such name"):
            await hanging[0]
        await asyncio.gather(*hanging, return_exceptions=True)
        async with asyncio.timeout(60):
            while True:  # lookups are possible again when the threads have ended
                try:
                    assert await loop.getaddrinfo("127.0.0.1", 80)
                    return
                except socket.gaierror:
                    await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=AgentEventLoop) as runner:
        runner.run(look_up())


@pytest.mark.usefixtures("silent")
def test_end_of_the_loop_does_not_wait_for_a_lookup() -> None:
    async def look_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.get_running_loop().getaddrinfo("silent.example", 80)

    with asyncio.Runner(loop_factory=AgentEventLoop) as runner:
        runner.run(look_up())
