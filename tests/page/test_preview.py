"""The live preview: published, for two viewers, newest picture only, never of a payer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from agent.errors import CameraError, CameraReserved
from agent.page import preview as preview_module
from agent.page.login import SESSION_S, SESSIONS_MAX
from agent.page.preview import VIEWERS_MAX, Picture, Preview
from tests.page.kit import A_FACE, SEEN, TOKEN, Lens, Open, PageSetup, opened, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "RELOAD_WAIT_S", 0.05)
    monkeypatch.setattr(preview_module, "NOTICE_EVERY_S", 0.01)
    monkeypatch.setattr(preview_module, "RATE_MAX", 100.0)


@asynccontextmanager
async def watching(page: Open) -> AsyncIterator[AsyncIterator[bytes]]:
    async with page.client() as client, client.stream("GET", "/preview.mjpg") as answer:
        assert answer.status_code == 200
        yield parts(answer)


async def parts(answer: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in answer.aiter_raw():
        rest += piece
        *whole, rest = rest.split(b"--picture\r\n")
        for part in whole:
            if part:
                yield part.partition(b"\r\n\r\n")[2]
    if rest.endswith(b"--picture--\r\n"):
        yield rest.partition(b"\r\n\r\n")[2]


async def test_preview_is_published_before_the_first_picture_and_after_the_last() -> None:
    setup = PageSetup()
    async with opened(setup) as page:
        async with watching(page) as pictures:
            first, second = await anext(pictures), await anext(pictures)
            assert A_FACE in first and first != second and setup.lens.announced == [True]
        await until(lambda: setup.lens.announced == [True, False])
        made = setup.lens.made
        await asyncio.sleep(0.1)
        assert setup.lens.made == made, "without a viewer no picture is made"
        assert page.preview is not None and page.preview._newest is None, "and nothing is kept"


async def test_preview_switched_off_serves_no_picture() -> None:
    setup = PageSetup(preview_on=False)
    async with opened(setup) as page, page.client() as client:
        answer = await client.get("/preview.mjpg")
        assert answer.status_code == 403 and "page.preview" in answer.text
        assert (await client.get("/status.json")).json()["page"]["preview"] is False
    assert not setup.lens.announced


async def test_verification_replaces_the_picture_by_a_notice_until_its_end() -> None:
    setup = PageSetup()
    async with opened(setup) as page, watching(page) as pictures:
        assert A_FACE in await anext(pictures)
        setup.lens.error = CameraReserved("a verification is open")
        async with asyncio.timeout(60):
            while A_FACE in await anext(pictures):
                pass
        assert page.preview is not None and page.preview.paused == "camera_in_use_by_verification"
        assert (await anext(pictures)).startswith(b"\xff\xd8")
        setup.lens.error = None
        async with asyncio.timeout(60):
            while A_FACE not in await anext(pictures):
                pass
        assert page.preview.paused == ""


async def test_facts_are_those_of_the_newest_picture_and_end_with_the_pictures() -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.client() as client:

        async def facts() -> tuple[object, str]:
            answer = (await client.get("/preview.json")).json()
            return answer["facts"], answer["paused"]

        assert await facts() == (None, "") and not setup.lens.announced, "asking opens no preview"
        async with watching(page) as pictures:
            await anext(pictures)
            await until(lambda: page.preview is not None and page.preview.facts is not None)
            assert await facts() == (SEEN, "")
            setup.lens.error = CameraReserved("a verification is open")
            await until(lambda: page.preview is not None and page.preview.paused != "")
            assert await facts() == (None, "camera_in_use_by_verification"), "no facts about a payer"
            setup.lens.error = None
            await until(lambda: page.preview is not None and page.preview.facts is not None)
        await until(lambda: setup.lens.announced == [True, False])
        assert await facts() == (None, "")
    async with opened(PageSetup(preview_on=False)) as page, page.client() as client:
        assert (await client.get("/preview.json")).json() == {"facts": None, "paused": ""}


async def test_a_camera_that_fails_replaces_the_picture_too() -> None:
    setup = PageSetup()
    async with opened(setup) as page, watching(page) as pictures:
        await anext(pictures)
        setup.lens.error = CameraError("unplugged")
        async with asyncio.timeout(60):
            while A_FACE in await anext(pictures):
                pass
        assert page.preview is not None and page.preview.paused == "camera_unavailable"


async def test_viewer_above_the_limit_gets_a_text_and_the_others_continue() -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.client() as client:
        async with watching(page) as one, watching(page) as two:
            await anext(one)
            await anext(two)
            for method in ("GET", "HEAD"):
                answer = await client.request(method, "/preview.mjpg")
                assert answer.status_code == 503
            assert page.preview is not None and page.preview.viewers == VIEWERS_MAX
            assert A_FACE in await anext(one) and A_FACE in await anext(two)
        await until(lambda: page.preview is not None and page.preview.viewers == 0)
        async with watching(page) as again:
            assert A_FACE in await anext(again)


async def test_head_request_opens_no_preview() -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.client() as client:
        assert (await client.head("/preview.mjpg")).status_code == 200
    assert not setup.lens.announced and not setup.lens.made


async def test_preview_many_simultaneous_viewers_are_limited_to_two() -> None:
    setup = PageSetup()
    async with opened(setup) as page:
        codes: list[int] = []

        async def tab() -> None:
            async with page.client() as client, client.stream("GET", "/preview.mjpg") as answer:
                codes.append(answer.status_code)
                await until(lambda: len(codes) == 25)  # all viewers stay until the last one has connected

        await asyncio.gather(*(tab() for _ in range(25)))
        assert codes.count(200) == VIEWERS_MAX and set(codes) == {200, 503}
    assert setup.lens.announced[0] is True


async def test_viewer_that_reads_no_pictures_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "SLOW_S", 0.2)
    setup = PageSetup(lens=Lens(picture=A_FACE + b"x" * 200_000))
    async with opened(setup) as page:
        stuck = socket.create_connection(("127.0.0.1", page.listener.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stuck.sendall(
            b"GET /preview.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "
            + TOKEN.encode()
            + b"\r\n\r\n"
        )
        await until(lambda: page.preview is not None and page.preview.viewers == 1)
        await until(lambda: page.preview is not None and page.preview.viewers == 0, 60)
        await until(lambda: setup.lens.announced == [True, False])
        stuck.close()


async def test_preview_above_the_longest_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "OPEN_MAX_S", 0.3)
    setup = PageSetup()
    async with opened(setup) as page:
        seen = [b""]
        async with asyncio.timeout(60):
            while A_FACE not in seen[0]:  # a stopped process has no time for a picture
                async with watching(page) as pictures:
                    seen = [part async for part in pictures]
        assert A_FACE not in seen[-1], "no picture of a person stays on the screen"
        await until(lambda: setup.lens.announced == [True, False])


async def test_ended_session_gets_no_further_picture() -> None:
    setup = PageSetup()
    async with opened(setup) as page, page.stranger() as client:
        for ends in ("logout", "crowd"):
            await client.post("/login", data={"token": TOKEN})
            async with client.stream("GET", "/preview.mjpg") as answer:
                pictures = parts(answer)
                assert A_FACE in await anext(pictures)
                if ends == "logout":
                    await client.post("/logout")
                else:
                    for _ in range(SESSIONS_MAX):
                        async with page.stranger() as other:
                            await other.post("/login", data={"token": TOKEN})
                async with asyncio.timeout(60):
                    last = [part async for part in pictures][-1]
                assert A_FACE not in last and last.startswith(b"\xff\xd8"), "a notice stays on the screen"
            await until(lambda: page.preview is not None and page.preview.viewers == 0)
    assert setup.lens.announced[-1] is False


async def test_preview_ends_with_its_session() -> None:
    now = [1_000.0]
    async with opened(now_s=lambda: now[0]) as page, page.stranger() as client:
        await client.post("/login", data={"token": TOKEN})
        now[0] += SESSION_S - 0.3
        async with client.stream("GET", "/preview.mjpg") as answer, asyncio.timeout(60):
            seen = [part async for part in parts(answer)]
        assert A_FACE in seen[0] and A_FACE not in seen[-1]


async def test_a_reload_does_not_announce_twice() -> None:
    setup = PageSetup()
    async with opened(setup) as page:
        for _ in range(3):
            async with watching(page) as pictures:
                await anext(pictures)
        await until(lambda: False in setup.lens.announced)
    assert setup.lens.announced == [True, False]


async def test_internal_error_while_drawing_ends_only_the_preview(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setup = PageSetup()

    async def broken() -> Picture:
        raise RuntimeError("bug")

    setup.lens.look = broken  # type: ignore[method-assign]
    async with opened(setup) as page, page.client() as client:
        async with watching(page) as pictures:
            (only,) = [part async for part in pictures]
            assert only.startswith(b"\xff\xd8"), "words"
        assert (await client.get("/status.json")).status_code == 200
        await until(lambda: setup.lens.announced == [True, False])
    assert "preview_internal_error" in caplog.text


async def test_shutdown_publishes_the_end_of_the_preview(caplog: pytest.LogCaptureFixture) -> None:
    lens = Lens()
    preview: Preview = lens.preview()
    with preview.viewer():
        await until(lambda: lens.made > 0)
        await preview.close()
    assert lens.announced == [True, False]
    await preview.close()
