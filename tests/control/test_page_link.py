"""The page link: for each user of the local socket; the log has the user."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.control.page_link import PAGE, PageLinkIssuer, request_link
from agent.control.server import StatusServer
from agent.errors import AgentNotRunning, StatusError
from tests.texts import en, zh

URL = "http://127.0.0.1:8090/login#a-pass-of-the-test"


@asynccontextmanager
async def answering(path: Path, reply: Callable[[int], Awaitable[bytes]]) -> AsyncIterator[Path]:
    server = StatusServer(path, dict, {PAGE: reply})
    await server.open()
    try:
        yield path
    finally:
        await server.close()


def issuer(listen: str = "loopback", url: str | None = URL) -> PageLinkIssuer:
    return PageLinkIssuer(listen, None if url is None else lambda: url)


async def test_issuer_link_for_a_user_is_logged_without_the_link(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(tmp_path / "status.sock", issuer().answer) as path:
        assert await asyncio.to_thread(request_link, path) == URL
        assert path.stat().st_mode & 0o777 == 0o660, "owner and group only"
    (record,) = [each for each in caplog.records if each.message == "page_link_handed_out"]
    assert record.__dict__["facts"] == {"user": os.getuid()} and "a-pass" not in caplog.text


@pytest.mark.parametrize(
    ("listen", "code", "fix"), [("off", "page_off", "listen ="), ("lan", "page_unavailable", "page_failed")]
)
async def test_issuer_without_a_page_refuses_with_a_fix(
    tmp_path: Path, listen: str, code: str, fix: str
) -> None:
    async with answering(tmp_path / "status.sock", issuer(listen, None).answer) as path:
        with pytest.raises(StatusError) as refused:
            await asyncio.to_thread(request_link, path)
    assert refused.value.code == code and fix in en(refused.value.fix) and fix in zh(refused.value.fix)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"no json",
        b"[]",
        b'{"schema": "facepay.link/1"}',
        b'{"url": "x"}',
        b'{"schema": "facepay.link/1", "url": "' + b"x" * 2_000 + b'"}',
    ],
)
async def test_ask_link_malformed_response_raises(tmp_path: Path, response: bytes) -> None:
    async def reply(_user: int) -> bytes:
        return response

    async with answering(tmp_path / "status.sock", reply) as path:
        with pytest.raises(StatusError) as refused:
            await asyncio.to_thread(request_link, path)
    assert refused.value.code == "status_malformed"


def test_without_an_agent_there_is_no_link(tmp_path: Path) -> None:
    with pytest.raises(AgentNotRunning):
        request_link(tmp_path / "status.sock")


async def test_command_prints_the_link_on_stdout_and_the_rest_on_stderr(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[storage]\ndirectory = "{tmp_path}"\n')
    async with answering(tmp_path / "status.sock", issuer().answer):
        plain = await asyncio.to_thread(CliRunner().invoke, application(), ["page", "--config", str(config)])
        as_json = await asyncio.to_thread(
            CliRunner().invoke, application(), ["page", "--json", "--config", str(config)]
        )
    assert plain.exit_code == 0 and plain.stdout == URL + "\n"
    assert "ssh -L 8090:127.0.0.1:8090" in plain.stderr and "两分钟" in plain.stderr
    assert json.loads(as_json.stdout) == {"url": URL} and as_json.stderr == ""
