"""Name lookups without an answer block neither other work nor the end of the loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import event_loop
from agent.config import Config
from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.event_loop import HANGING_MAX, AgentEventLoop, run
from agent.root import doctor


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


def test_run_ends_while_a_lookup_hangs(silent: threading.Event) -> None:
    async def look_up() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.get_running_loop().getaddrinfo("silent.example", 80)
        return 7

    assert run(look_up()) == 7 and not silent.is_set()


def test_api_call_of_the_doctor_keeps_its_time_limit_without_a_name_server(
    silent: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_CALL_TIMEOUT_MS", 100)
    secret, failures = tmp_path / "key", list[CompareError]()
    secret.write_text("0" * 32)
    section = {"appid": "1", "secret_id": "a", "secret_key_file": str(secret)}
    section["url"] = "http://silent.example/face/compare"
    config = Config.model_validate({"profile": "demo", "compare": section})

    def call() -> None:
        try:
            doctor.inputs_from_config(lambda: config).call_api()
        except CompareError as error:
            failures.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    calling.join(60)
    has_ended = not calling.is_alive()
    silent.set()
    calling.join()
    assert has_ended and failures[0].code == Reason.COMPARE_UNREACHABLE


def test_no_program_uses_the_loop_whose_end_waits_for_lookups() -> None:
    package = Path(event_loop.__file__).parent
    uses = [file for file in package.rglob("*.py") if "asyncio.run(" in file.read_text(encoding="utf-8")]
    assert uses == []
