"""A login survives a restart of the agent, and nothing that opens the page is on disk."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from agent.page.app import application
from agent.page.listener import Listener
from agent.page.login import SESSION_S, SessionStore
from agent.page.session_file import FILE, SavedSessions, SessionFile, read_boot_id
from tests.page.kit import TOKEN, PageSetup

NOW_S = 5_000.0
OTHER = b"another-token-of-the-test"


@asynccontextmanager
async def started(
    folder: Path, browser: httpx.AsyncClient, *, token: bytes | None = TOKEN.encode(), **more: object
) -> AsyncIterator[SessionStore]:
    """One process of the agent with its page. ``more``: ``boot`` and ``now_s``."""
    now_s = float(str(more.get("now_s", NOW_S)))
    file = SessionFile(folder, str(more.get("boot", "boot-1")))
    sessions = SessionStore(token, secure=False, now_s=lambda: now_s, file=file)
    listener = Listener(application(PageSetup(preview_on=False).sources(), sessions, now_s=lambda: now_s))
    await listener.open("127.0.0.1", 0)
    browser.base_url = httpx.URL(f"http://127.0.0.1:{listener.port}")
    try:
        yield sessions
    finally:
        await listener.close()


async def code(browser: httpx.AsyncClient) -> int:
    return (await browser.get("/status.json")).status_code


@pytest.mark.parametrize("token", [TOKEN.encode(), None], ids=["token", "links only"])
async def test_login_survives_a_restart(tmp_path: Path, token: bytes | None) -> None:
    async with httpx.AsyncClient(verify=False) as browser:
        async with started(tmp_path, browser, token=token) as sessions:
            await browser.post("/login", data={"token": sessions.new_link_secret()})
            assert await code(browser) == 200
        for _ in range(2):
            async with started(tmp_path, browser, token=token):
                assert await code(browser) == 200


@pytest.mark.parametrize(
    "change",
    [
        {"token": OTHER},
        {"token": None},
        {"boot": "boot-2"},
        {"now_s": NOW_S + SESSION_S + 1},
        {"now_s": NOW_S - 60},
    ],
    ids=["another token", "token removed", "another boot", "expired", "end too far away"],
)
async def test_change_ends_the_session(tmp_path: Path, change: dict[str, object]) -> None:
    async with httpx.AsyncClient(verify=False) as browser:
        async with started(tmp_path, browser) as sessions:
            await browser.post("/login", data={"token": sessions.new_link_secret()})
        async with started(tmp_path, browser, **change):  # type: ignore[arg-type]
            assert await code(browser) == 401


async def test_new_token_ends_the_session_of_a_link_only_page(tmp_path: Path) -> None:
    async with httpx.AsyncClient(verify=False) as browser:
        async with started(tmp_path, browser, token=None) as sessions:
            await browser.post("/login", data={"token": sessions.new_link_secret()})
        async with started(tmp_path, browser):
            assert await code(browser) == 401


async def test_logout_is_final(tmp_path: Path) -> None:
    async with httpx.AsyncClient(verify=False) as browser:
        async with started(tmp_path, browser) as sessions:
            await browser.post("/login", data={"token": sessions.new_link_secret()})
            kept = dict(browser.cookies)
            await browser.post("/logout")
        browser.cookies.update(kept)
        async with started(tmp_path, browser):
            assert await code(browser) == 401


async def test_file_is_private_and_opens_no_session(tmp_path: Path) -> None:
    async with httpx.AsyncClient(verify=False) as browser:
        async with started(tmp_path, browser) as sessions:
            link = sessions.new_link_secret()
            await browser.post("/login", data={"token": link})
        text = (tmp_path / FILE).read_text()
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
        assert [each.name for each in tmp_path.iterdir()] == [FILE]
        assert not any(secret in text for secret in (TOKEN, link, *browser.cookies.values()))
        saved = SessionFile(tmp_path, "boot-1").read()
        assert saved is not None
        async with started(tmp_path, browser):
            for digest in saved.ends_s:
                browser.cookies.clear()
                browser.cookies.set(saved.cookie, digest.hex())
                assert await code(browser) == 401


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"boot_id": "boot-1"}',
        b'{"boot_id": "boot-1", "cookie": "c", "ends_s": [1]}',
        b"x" * 99_999,
    ],
    ids=["empty", "list", "cut", "fields missing", "no object", "huge"],
)
async def test_damaged_file_is_no_session_and_no_failure(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with httpx.AsyncClient(verify=False) as browser, started(tmp_path, browser) as sessions:
        assert await code(browser) == 401
        await browser.post("/login", data={"token": sessions.new_link_secret()})
        assert await code(browser) == 200


def test_link_at_the_files_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for name in (FILE, f".{FILE}.new"):
        (tmp_path / name).symlink_to(victim)
    SessionFile(tmp_path, "boot-1").write(SavedSessions("c", {b"d": 1.0}))
    assert victim.read_text() == "kept" and not (tmp_path / FILE).is_symlink()


def test_boot_id_is_that_of_the_kernel() -> None:
    assert len(read_boot_id()) == 36 and read_boot_id() == read_boot_id()
