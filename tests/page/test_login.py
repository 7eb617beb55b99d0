"""The token: right, wrong, expired, and where it must never show."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.page import login
from agent.page.login import SESSION_S, SESSIONS_MAX, read_token
from tests.page.kit import TOKEN, World, opened

FORM = {"token": TOKEN}


async def test_the_form_lets_in_and_the_cookie_is_not_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened(World(token=TOKEN)) as page, page.client() as client:
        assert TOKEN not in (await client.get("/login")).text
        answer = await client.post("/login", data=FORM)
        cookie = answer.headers["set-cookie"]
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert TOKEN not in str(answer.headers)
        assert (await client.get("/status.json")).json()["page"]["login"] is True
        await client.post("/logout")
        assert (await client.get("/status.json")).status_code == 401
    assert TOKEN not in caplog.text


async def test_a_program_sends_the_token_as_a_bearer() -> None:
    async with opened(World(token=TOKEN)) as page, page.client() as client:
        answer = await client.get("/status.json", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\udcff", "ä" * 300])
async def test_a_wrong_token_gets_the_form_again_and_no_cookie(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "WRONG_PAUSE_S", 0.0)
    async with opened(World(token=TOKEN)) as page, page.client() as client:
        answer = await client.post("/login", content=b"token=" + given.encode("utf-8", "surrogateescape"))
        assert answer.status_code in {401, 413} and "set-cookie" not in answer.headers
        assert (await client.get("/status.json")).status_code == 401


async def test_who_guesses_is_seen_in_the_log_and_who_got_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(login, "WRONG_PAUSE_S", 0.0)
    async with opened(World(token=TOKEN)) as page, page.client() as client:
        await client.post("/login", data={"token": "guess-of-a-stranger"})
        await client.get("/status.json", headers={"Authorization": "Bearer guess-of-a-stranger"})
        await client.get("/status.json", headers={"Authorization": f"Bearer {TOKEN}"})
        await client.post("/login", data=FORM)
    told = [(each.message, each.__dict__["facts"]) for each in caplog.records if "page_" in each.message]
    here = {"peer": "127.0.0.1"}
    assert told == [("page_token_wrong", here)] * 2 + [("page_login", here)]
    assert "guess" not in str(told)


async def test_a_session_ends_and_the_oldest_makes_room() -> None:
    now = [1_000.0]
    async with opened(World(token=TOKEN), now_s=lambda: now[0]) as page, page.client() as client:
        await client.post("/login", data=FORM)
        now[0] += SESSION_S - 1
        assert (await client.get("/status.json")).status_code == 200
        now[0] += 2
        assert (await client.get("/status.json")).status_code == 401
        await client.post("/login", data=FORM)
        for _ in range(SESSIONS_MAX):
            now[0] += 1
            async with page.client() as other:
                await other.post("/login", data=FORM)
        assert (await client.get("/status.json")).status_code == 401


async def test_without_a_token_there_is_no_login() -> None:
    async with opened() as page, page.client() as client:
        for path, method in (("/login", "GET"), ("/login", "POST"), ("/logout", "POST")):
            assert (await client.request(method, path)).status_code == 404


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"x" * 1_000, None], ids=["empty", "short", "long", "missing"]
)
def test_a_file_without_a_usable_token_is_named_with_a_way_to_make_one(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_token(path)
    assert str(path) in str(refused.value) and refused.value.code == "page_unavailable" and refused.value.fix
    path.write_bytes(TOKEN.encode() + b"\n")
    assert read_token(path) == TOKEN.encode()
