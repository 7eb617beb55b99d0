"""The status socket: its document, its permissions, and clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.control import server as status_socket
from agent.control.server import ANSWER_MAX_BYTES, CLIENTS_MAX, StatusServer, path_for, request_status
from agent.control.status import StatusFacts, status_document
from agent.control.status_text import status_lines
from agent.core.model import Assurance, CameraHealth, Comparison, Frame, Result, Timings
from agent.core.reasons import Decision, FrameReason, Reason
from agent.errors import AgentNotRunning, StatusError
from agent.health.condition_tracker import ShownCondition
from agent.health.conditions import CONDITIONS
from agent.health.counters import RECENT, Counters
from agent.health.frame_meter import FrameMeter
from tests.fakes import request
from tests.texts import en, zh


def counters(results: int = 3) -> Counters:
    made = Counters(calls=2, bytes_sent=40_000)
    made.frames.update({FrameReason.IDLE: 100, FrameReason.NO_FACE: 7, FrameReason.SHOT: 2})
    for number in range(results):
        verification = request(f"secret-sale-{number}")
        answer = Comparison(93.0, 80.0, "scripted", session_id="session-of-the-api", api_ms=140)
        timings = Timings(wait_face=200, api=140, total=400 + number)
        decision = (Decision.MATCH, Reason.SAME_PERSON)
        made.recent.append(Result(verification, *decision, 1, answer, timings, Assurance()))
        made.results["match/same_person"] += 1
    return made


def now(*codes: str, results: int = 3) -> StatusFacts:
    camera = {"fps": 9.8, "frame_age_ms": 40, "mean_luma": 120}
    conditions = tuple(ShownCondition(CONDITIONS[code], 65_000) for code in codes)
    return StatusFacts(3_700, conditions, counters(results), camera, is_connected=True, outbox_depth=2)


@asynccontextmanager
async def serving(path: Path, make: Any = None) -> AsyncIterator[None]:
    server = StatusServer(path, make or (lambda: status_document(Config(), now())))
    await server.open()
    try:
        yield
    finally:
        await server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


async def test_ask_running_agent_returns_its_status(path: Path) -> None:
    async with serving(path, lambda: status_document(Config(), now("camera_covered"))):
        status = await asyncio.to_thread(request_status, path)
    assert (status["site"], status["status"], status["uptime_s"]) == ("site", "degraded", 3_700)
    assert [condition["code"] for condition in status["conditions"]] == ["camera_covered"]
    assert status["camera"] == {"kind": "replay", "fps": 9.8, "frame_age_ms": 40, "mean_luma": 120}
    assert (status["counters"]["calls"], status["counters"]["calls_saved"]) == (2, 7)
    assert status["mqtt"] == {"connected": True, "outbox_depth": 2}
    assert [each["timings_ms"]["total"] for each in status["last"]] == [402, 401, 400], "newest first"


def test_document_contains_no_ids_of_sales_and_no_answers_of_the_api() -> None:
    text = json.dumps(status_document(Config(), now()))
    for secret in ("sale-secret-sale", "session-of-the-api", "93.0", "similarity", "landmark"):
        assert secret not in text


def test_verification_has_its_time_till_and_request() -> None:
    shown = status_document(Config(), replace(now(results=1), unix_ahead_ms=1_700_000_000_000))
    (last,) = shown["last"]
    made = counters(1).recent[0]
    assert (last["till"], last["request_id"]) == ("till-1", "secret-sale-0")
    ended_ms = last["ended_unix_ms"] - 1_700_000_000_000
    assert abs(ended_ms - made.request.received_ms - made.timings.total) < 60_000, "received, then 400 ms"
    clock = datetime.fromtimestamp(last["ended_unix_ms"] / 1e3).astimezone().strftime("%H:%M:%S")
    row = next(line for line in status_lines(shown) if line.startswith("last"))
    assert f"last       {clock} match/same_person" in row and row.endswith(", till-1 secret-sale-0")
    del last["ended_unix_ms"], last["request_id"], last["till"]
    assert "last       match/same_person" in "\n".join(status_lines(shown)), "an older agent's document"


def test_the_fullest_document_fits_the_bound() -> None:
    made = now(*CONDITIONS, results=RECENT)
    made.counters.refusals.update({f"refusal_{number}": 10**9 for number in range(50)})
    assert len(json.dumps(status_document(Config(), made))) < ANSWER_MAX_BYTES


def test_another_config_has_another_fingerprint() -> None:
    one, other = (status_document(Config(site=site), now())["config_sha256"] for site in ("a", "b"))
    assert one != other and len(one) == 64


async def test_socket_is_for_owner_and_group_and_is_removed_with_the_agent(path: Path) -> None:
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_open_socket_of_a_killed_agent_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(AgentNotRunning) as refused:
        request_status(path)
    assert refused.value.code == "agent_not_running"
    async with serving(path):
        assert (await asyncio.to_thread(request_status, path))["site"] == "site"


async def test_open_impossible_path_is_logged_and_not_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = StatusServer(tmp_path / ("x" * 120), dict)  # AF_UNIX paths end at 108 bytes
    await server.open()
    await server.close()
    assert "status_socket_failed" in caplog.text


@pytest.mark.parametrize("sent", [b"", b"status", b"reboot\n", b"x" * 10_000, b"\n", b"\x00\xff\n"], ids=repr)
async def test_unknown_request_gets_no_response_and_the_next_client_is_served(
    path: Path, sent: bytes
) -> None:
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(sent)
        if not sent.endswith(b"\n"):
            writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert (await asyncio.to_thread(request_status, path))["site"] == "site"


async def test_silent_and_greedy_clients_are_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_socket, "CLIENT_TIMEOUT_S", 0.05)
    big = {"schema": "x", "filler": "y" * 2_000_000}  # more than any socket buffer takes
    async with serving(path, lambda: big):
        silent = [await asyncio.open_unix_connection(path) for _ in range(CLIENTS_MAX)]
        for reader, _ in silent:
            assert await reader.read() == b""
        greedy = socket.socket(socket.AF_UNIX)  # sends a request and never reads
        greedy.connect(str(path))
        greedy.sendall(b"status\n")
        await asyncio.sleep(0.4)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"status\n")
        assert len(await reader.read()) > 2_000_000, "earlier clients are dropped, a new client is served"
        greedy.close()
        for _, open_writer in [*silent, (reader, writer)]:
            open_writer.close()


async def test_connection_above_the_limit_is_closed_and_the_earlier_ones_stay_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_socket, "CLIENT_TIMEOUT_S", 3_600.0)
    async with serving(path):
        earlier = [await asyncio.open_unix_connection(path) for _ in range(CLIENTS_MAX)]
        over, _ = extra = await asyncio.open_unix_connection(path)
        assert await over.read() == b""
        for reader, writer in earlier:
            writer.write(b"status\n")
            assert json.loads(await reader.read())["site"] == "site"
        for _, open_writer in [*earlier, extra]:
            open_writer.close()


async def test_many_clients_share_one_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_socket, "FRESH_S", 3_600.0)
    made: list[dict[str, Any]] = []

    def make() -> dict[str, Any]:
        made.append(status_document(Config(), now()))
        return made[-1]

    async with serving(path, make):
        await asyncio.gather(*(asyncio.to_thread(request_status, path, timeout_s=60) for _ in range(5)))
        assert len(made) == 1
        monkeypatch.setattr(status_socket, "FRESH_S", 0.0)
        await asyncio.to_thread(request_status, path, timeout_s=60)
    assert len(made) == 2, "an older document is not reused"


def test_ask_without_a_socket_raises_agent_away(path: Path) -> None:
    with pytest.raises(AgentNotRunning) as away:
        request_status(path)
    assert (away.value.code, away.value.exit_code) == ("status_socket_missing", 3) and away.value.fix


def test_ask_hung_agent_differs_from_an_absent_agent(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()  # the kernel accepts the connection, no process answers
        with pytest.raises(StatusError) as silent:
            request_status(path, timeout_s=0.2)
    assert (silent.value.code, silent.value.exit_code) == ("agent_hung", 4)


def test_permission_denied_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        if os.geteuid() == 0:  # root has access: simulate the kernel's answer to another user

            def denied(_self: socket.socket, _path: str) -> None:
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr(socket.socket, "connect", denied)
        with pytest.raises(StatusError) as refused:
            request_status(path)
    assert refused.value.code == "status_denied"
    assert "sudo" in en(refused.value.fix) and "sudo" in zh(refused.value.fix)


@pytest.mark.parametrize(
    "response", [b"", b"<html>", b"[]", b'{"schema": "other/1"}', b'{"x": NaN}', b"{" * 70_000], ids=repr
)
def test_ask_response_of_another_program_is_refused(
    path: Path, response: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_socket, "send_request", lambda *_, **__: response)
    with pytest.raises(StatusError) as malformed:
        request_status(path)
    assert malformed.value.code == "status_malformed"


def test_a_packaged_agent_listens_in_its_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_socket, "_STATE", tmp_path / "lib")
    monkeypatch.setattr(status_socket, "_RUNTIME", tmp_path / "run")
    storage = tmp_path / "lib" / "facepay-agent"
    assert path_for(storage) == storage / "status.sock", "not under systemd"
    (tmp_path / "run" / "facepay-agent").mkdir(parents=True)
    assert path_for(storage) == tmp_path / "run" / "facepay-agent" / "status.sock"
    assert path_for(tmp_path / "mine") == tmp_path / "mine" / "status.sock"


def test_screen_shows_an_open_live_view() -> None:
    status = status_document(Config(), now())
    assert "PREVIEW" not in "\n".join(status_lines(status | {"preview_open": False}))
    assert "LIVE PREVIEW OPEN" in "\n".join(status_lines(status | {"preview_open": True}))


def test_screen_shows_the_status_in_less_than_30_lines() -> None:
    lines = status_lines(status_document(Config(), now("camera_covered")))
    text = "\n".join(lines)
    assert "site/terminal  DEGRADED" in text and "up 1 h 1 min" in text
    assert "warning: camera_covered" in text and "处理:" in text
    assert (
        "2 made, 7 saved" in text and "match/same_person  1 API call, 402 ms (wait_face 200, api 140)" in text
    )
    assert len(lines) < 30


def test_frame_meter_rate_counts_dropped_frames_and_ends_with_the_frames() -> None:
    meter = FrameMeter()
    assert meter.facts(0) == {"fps": 0.0, "frame_age_ms": None, "mean_luma": None}
    for number in range(5):  # every second frame, 200 ms apart: the camera makes ten a second
        meter.add_frame(
            Frame(None, 1 + 2 * number, 1_000 + 200 * number, 64, 64), CameraHealth(mean_luma=99.6)
        )
    assert meter.facts(1_850) == {"fps": 10.0, "frame_age_ms": 50, "mean_luma": 100}
    assert meter.facts(9_000)["fps"] == 0.0
