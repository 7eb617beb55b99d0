"""The page of a real agent: announced on MQTT, no frames during a verification, no picture on a disk."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.config import MqttConfig
from agent.control.camera import request_shot
from agent.control.page_link import request_link
from agent.control.server import path_for
from agent.errors import CameraReserved
from agent.kits.till.client import TillClient
from agent.live_view.annotate import notice_picture
from agent.messages.signing import Signer
from tests.brokers import free_port
from tests.e2e.agents import BUSY_S, ENROLLED, LONG_TTL_MS, TOPICS, Place, running
from tests.page.test_preview import parts

PAUSED = notice_picture("paused: a customer is served")
State = dict[str, Any]


def page_of(port: int, more: str = "preview = true") -> str:
    return f'[page]\nlisten = "loopback"\nport = {port}\n{more}\n'


async def logged_in(place: Place, client: httpx.AsyncClient) -> None:
    """Log in with a one-time link."""
    url = await asyncio.to_thread(request_link, path_for(place.folder / "state"))
    assert url.startswith("http://127.0.0.1:")
    answer = await client.post("/login", data={"token": url.partition("#")[2]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@asynccontextmanager
async def listening_till(place: Place) -> AsyncIterator[tuple[TillClient, asyncio.Queue[tuple[str, State]]]]:
    inbox: asyncio.Queue[tuple[str, State]] = asyncio.Queue()
    key = Signer.load_or_create(place.folder / "state").public
    config = MqttConfig(port=place.broker.port)
    till = TillClient(
        config, TOPICS, "till-1", pinned=key, on_message=lambda *output: inbox.put_nowait(output)
    )
    await till.start()
    try:
        yield till, inbox
    finally:
        await till.stop()


async def receive(inbox: asyncio.Queue[tuple[str, State]], holds: Callable[[str, State], bool]) -> State:
    async with asyncio.timeout(60):
        while True:
            topic, tree = await inbox.get()
            if holds(topic, tree):
                return tree


def is_state(preview_open: bool) -> Callable[[str, State], bool]:
    return lambda topic, tree: topic == TOPICS.state and tree.get("preview_open", False) is preview_open


def files_with_pictures(folder: Path) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and b"\xff\xd8\xff" in path.read_bytes():
                found.append(path)
    return found


async def test_preview_is_announced_pauses_for_a_payer_and_stores_no_picture(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(place.folder / "tmp"))
    port = free_port()
    async with running(place.config("two_people", page_of(port))), listening_till(place) as (till, inbox):
        assert await receive(inbox, is_state(False))
        received: list[bytes] = []
        resumed_s: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        async def watch(answer: httpx.Response) -> None:
            async for part in parts(answer):
                received.append(part.rstrip())
                if PAUSED in received[:-1] and received[-1] != PAUSED and not resumed_s.done():
                    resumed_s.set_result(time.monotonic())

        async def until(is_true: Callable[[], bool]) -> None:
            async with asyncio.timeout(BUSY_S):
                while not is_true():  # noqa: ASYNC110 - the watching task changes the answer
                    await asyncio.sleep(0.02)

        async with httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert (await client.get("/preview.mjpg")).status_code == 401, "also on this machine"
            await logged_in(place, client)
            async with client.stream("GET", "/preview.mjpg") as answer:
                watching = asyncio.create_task(watch(answer))
                assert (await receive(inbox, is_state(True)))["status"] == "online"
                await until(lambda: len(received) > 1)
                assert (await client.get("/status.json")).json()["preview_open"] is True
                asked_s = time.monotonic()
                asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=3_000))
                await receive(inbox, lambda _topic, tree: tree.get("event") == "accepted")
                with pytest.raises(CameraReserved):
                    await asyncio.to_thread(request_shot, path_for(place.folder / "state"))
                assert (await asking).reason == "multiple_faces"
                at_result = len(received)
                pause_s = await asyncio.wait_for(resumed_s, BUSY_S) - asked_s
                watching.cancel()
            assert (await client.get("/status.json")).json()["counters"]["calls"] == 0
            assert "facepay_" in (await client.get("/metrics")).text
        await receive(inbox, is_state(False))
        first, resumed = received.index(PAUSED), len(received) - received[::-1].index(PAUSED)
        assert first > 0 and all(part.startswith(b"\xff\xd8") for part in received[:first])
        assert first < at_result and set(received[first:resumed]) == {PAUSED}, "no picture of a payer"
        assert pause_s > 4.5, "2.5 s of verification, and 2 s in which the payer can leave"
        assert received[resumed:], "the preview continues automatically"
        assert files_with_pictures(place.folder) == []


async def test_a_page_that_cannot_listen_stops_no_payment(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = place.config("one_obama_portrait", page_of(taken.getsockname()[1]))
        async with running(config), listening_till(place) as (till, _):
            assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
    assert "page_failed" in (place.folder / "agent.log").read_text()


async def test_flood_of_page_requests_delays_no_payment_and_no_technician(place: Place) -> None:
    port = free_port()
    config = place.config("one_obama_portrait", page_of(port))
    async with running(config), listening_till(place) as (till, inbox):
        flood = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.e2e.rush", str(port))
        await asyncio.sleep(1.5)
        for number in range(3):
            verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
            assert (verdict.decision, verdict.reason) == ("match", "same_person"), number
        async with httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await logged_in(place, client)  # from another address than the flood
            assert (await client.get("/status.json")).status_code == 200
        assert flood.returncode is None
        flood.kill()
        await flood.wait()
        reported = [
            tree
            for topic, tree in (inbox.get_nowait() for _ in range(inbox.qsize()))
            if topic == TOPICS.state
        ]
        assert not any(tree.get("preview_open") for tree in reported), "no preview was open"


async def test_login_survives_a_restart_of_the_agent(place: Place) -> None:
    port = free_port()
    config = place.config("empty", page_of(port, ""))
    async with httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        async with running(config):
            await logged_in(place, client)
            first = (await client.get("/status.json")).json()
        async with running(config):
            second = (await client.get("/status.json")).json()
            await client.post("/logout")
        assert first["pid"] != second["pid"]
        async with running(config):
            assert (await client.get("/status.json")).status_code == 401


async def test_the_agents_end_does_not_wait_for_its_viewers(place: Place) -> None:
    port = free_port()
    async with running(place.config("empty", page_of(port))) as agent, listening_till(place) as (_, inbox):
        async with httpx.AsyncClient(verify=False, base_url=f"http://127.0.0.1:{port}") as client:
            await logged_in(place, client)
            with contextlib.suppress(httpx.HTTPError):
                async with client.stream("GET", "/preview.mjpg") as answer:
                    pictures = parts(answer)
                    await anext(pictures)
                    agent.process.send_signal(signal.SIGTERM)
                    assert await agent.ended(60) == 0
        await receive(inbox, lambda topic, tree: topic == TOPICS.state and tree["status"] == "stopping")
        assert (await receive(inbox, lambda topic, _: topic == TOPICS.state))["status"] == "offline"


async def test_a_terminal_without_a_page_loads_no_web_server() -> None:
    code = "import sys, agent.cli, agent.root.daemon; print([m for m in sys.modules if m.startswith(NAMES)])"
    names = "('starlette', 'uvicorn', 'agent.page', 'agent.root.page')"
    command = (sys.executable, "-c", code.replace("NAMES", names))
    output = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert (await output.communicate())[0].strip() == b"[]"
