"""Login by token and by link: valid, wrong, expired; the token appears nowhere."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import httpx
import pytest

from agent.errors import ConfigError
from agent.page import login
from agent.page.app import application
from agent.page.listener import Listener
from agent.page.login import (
    LINK_VALID_S,
    LINKS_MAX,
    SESSION_S,
    SESSIONS_MAX,
    WINDOW_S,
    WRONG_TOKENS_MAX,
    LoginThrottle,
    SessionStore,
    read_token,
)
from tests.page.kit import TOKEN, PageSetup, opened

FORM = {"token": TOKEN}


async def test_form_with_the_token_sets_a_cookie_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened() as page, page.stranger() as client:
        assert TOKEN not in (await client.get("/login")).text
        answer = await client.post("/login", data=FORM)
        cookie = answer.headers["set-cookie"]
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert TOKEN not in str(answer.headers)
        assert (await client.get("/status.json")).status_code == 200
        await client.post("/logout")
        assert (await client.get("/status.json")).status_code == 401
    assert TOKEN not in caplog.text


async def test_a_program_sends_the_token_as_a_bearer() -> None:
    async with opened() as page, page.stranger() as client:
        answer = await client.get("/status.json", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("given", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\udcff", "ä" * 300])
async def test_a_wrong_token_gets_the_form_again_and_no_cookie(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "WRONG_PAUSE_S", 0.0)
    async with opened() as page, page.stranger() as client:
        answer = await client.post("/login", content=b"token=" + given.encode("utf-8", "surrogateescape"))
        assert answer.status_code in {401, 413} and "set-cookie" not in answer.headers
        assert (await client.get("/status.json")).status_code == 401


async def test_form_with_many_fields_is_a_wrong_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(login, "WRONG_PAUSE_S", 0.0)
    async with opened() as page, page.stranger() as client:
        for body in (b"a=1&" * 6, b"a&" * 500, b"a=%ff&" * 100):
            assert (await client.post("/login", content=body)).status_code == 401
    assert "page_internal_error" not in caplog.text


async def test_wrong_tokens_and_logins_are_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(login, "WRONG_PAUSE_S", 0.0)
    async with opened() as page, page.stranger() as client:
        await client.post("/login", data={"token": "guess-of-a-stranger"})
        await client.get("/status.json", headers={"Authorization": "Bearer guess-of-a-stranger"})
        await client.get("/status.json", headers={"Authorization": f"Bearer {TOKEN}"})
        await client.post("/login", data=FORM)
    logged = [(each.message, each.__dict__["facts"]) for each in caplog.records if "page_" in each.message]
    here = {"peer": "127.0.0.1"}
    assert logged == [("page_token_wrong", here)] * 2 + [("page_login", here | {"by": "token"})]
    assert "guess" not in str(logged)


async def test_two_terminals_through_two_tunnels_do_not_log_each_other_out() -> None:
    async with opened() as one, opened() as other, httpx.AsyncClient(verify=False) as browser:
        for page in (one, other):
            await browser.post(f"{page.url}/login", data={"token": page.keys.new_link_secret()})
        for page in (one, other):
            assert (await browser.get(f"{page.url}/status.json")).status_code == 200


async def test_a_session_ends_and_the_oldest_makes_room() -> None:
    now = [1_000.0]
    async with opened(now_s=lambda: now[0]) as page, page.stranger() as client:
        await client.post("/login", data=FORM)
        now[0] += SESSION_S - 1
        assert (await client.get("/status.json")).status_code == 200
        now[0] += 2
        assert (await client.get("/status.json")).status_code == 401
        await client.post("/login", data=FORM)
        for _ in range(SESSIONS_MAX):
            now[0] += 1
            async with page.stranger() as other:
                await other.post("/login", data=FORM)
        assert (await client.get("/status.json")).status_code == 401


async def test_link_works_once_within_two_minutes() -> None:
    now = [1_000.0]
    async with opened(now_s=lambda: now[0]) as page, page.stranger() as client, page.stranger() as thief:
        link = {"token": page.keys.new_link_secret()}
        assert (await client.post("/login", data=link)).status_code == 303
        assert (await client.get("/status.json")).status_code == 200
        again = await thief.post("/login", data=link)
        assert again.status_code == 401 and "链接已使用" in again.text and " hidden" not in again.text
        late = {"token": page.keys.new_link_secret()}
        now[0] += LINK_VALID_S + 1
        assert (await thief.post("/login", data=late)).status_code == 401
        assert (
            await thief.get("/status.json", headers=_bearer(page.keys.new_link_secret()))
        ).status_code == 401


async def test_links_are_few_and_the_oldest_is_void() -> None:
    async with opened() as page, page.stranger() as client:
        links = [page.keys.new_link_secret() for _ in range(LINKS_MAX + 1)]
        codes = [(await client.post("/login", data={"token": link})).status_code for link in links]
    assert codes == [401] + [303] * LINKS_MAX


async def test_without_a_token_file_only_a_link_opens_a_session() -> None:
    keys = SessionStore(None, secure=False, now_s=time.monotonic)
    listener = Listener(application(PageSetup().sources(), keys))
    await listener.open("127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.port}", verify=False) as client:
            for given in ("x", "None", TOKEN):
                assert (await client.get("/status.json", headers=_bearer(given))).status_code == 401
            assert (await client.post("/login", data=FORM)).status_code == 401
            assert (await client.post("/login", data={"token": keys.new_link_secret()})).status_code == 303
            assert (await client.get("/status.json")).status_code == 200
    finally:
        await listener.close()


async def test_after_ten_wrong_tokens_only_a_link_works_for_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login, "WRONG_PAUSE_S", 0.0)
    now = [1_000.0]
    async with opened(now_s=lambda: now[0]) as page, page.stranger() as client:
        for number in range(WRONG_TOKENS_MAX):
            headers = _bearer(f"a-guess-of-a-stranger-{number}")
            assert (await client.get("/status.json", headers=headers)).status_code == 401
        assert (await client.get("/status.json", headers=_bearer(TOKEN))).status_code == 401
        assert (await client.post("/login", data=FORM)).status_code == 401
        here = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with page.stranger(transport=here) as another:
            assert (await another.get("/status.json", headers=_bearer(TOKEN))).status_code == 200
        assert (await client.post("/login", data={"token": page.keys.new_link_secret()})).status_code == 303
        now[0] += WINDOW_S
        async with page.client() as later:
            assert (await later.get("/status.json")).status_code == 200


def test_throttle_drops_the_oldest_of_many_addresses() -> None:
    guesses = LoginThrottle(lambda: 0.0)
    for number in range(300):
        for _ in range(WRONG_TOKENS_MAX):
            guesses.note_wrong(f"10.0.{number // 256}.{number % 256}")
    assert guesses.is_blocked("10.0.1.0") and not guesses.is_blocked("10.0.0.0")


async def test_page_without_a_token_has_no_field_for_one() -> None:
    async with opened(PageSetup(token=None)) as page, page.stranger() as client:
        form = (await client.get("/login")).text
        assert "<input" not in form and "<button" not in form and "page.token_file" not in form
        assert "facepay page" in form and " hidden" in form and "<!--" not in form.replace("<!doctype", "")
        failed = (await client.post("/login", data=FORM)).text
        assert " hidden" not in failed and "链接已使用" in failed and "token is wrong" not in failed
    async with opened() as page, page.stranger() as client:
        form = (await client.get("/login")).text
        assert form.count("<input") == 1 and form.count('id="wrong"') == 1 and "page.token_file" in form


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"x" * 1_000, None], ids=["empty", "short", "long", "missing"]
)
def test_unusable_token_file_is_named_with_a_fix(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_token(path)
    assert str(path) in str(refused.value) and refused.value.code == "page_unavailable" and refused.value.fix
    path.write_bytes(TOKEN.encode() + b"\n")
    assert read_token(path) == TOKEN.encode()


def test_pipe_in_place_of_the_token_file_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    """The agent is not ready before the page is open or refused."""
    path, refused = tmp_path / "token", list[ConfigError]()
    os.mkfifo(path)

    def read() -> None:
        try:
            read_token(path)
        except ConfigError as error:
            refused.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    reading.join(20)
    if has_waited := reading.is_alive():
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        reading.join()
    assert not has_waited and refused[0].code == "page_unavailable"
