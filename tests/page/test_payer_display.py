"""The payer's screen over real HTTP: one viewer with the key, the newest picture only, blank at the end."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from agent.core.model import Frame
from agent.core.payer_screen import ENDING_MS, Guiding, Idle
from agent.core.ports import AcceptedEvent
from agent.core.reasons import Decision, Guidance, Reason
from agent.errors import ImageError
from agent.page import display_app
from agent.page.access import HEADERS
from agent.page.display_app import hint_words
from agent.page.display_key import FILE, DisplayKey
from agent.page.payer_display import PayerDisplay
from agent.resources import data
from agent.texts import locales
from tests.fakes import request
from tests.page.display_kit import (
    A_FACE,
    OPTIONS,
    Received,
    frame,
    opened_display,
    start_url,
    until_kind,
    watching,
)
from tests.page.kit import until


async def test_idle_screen_has_the_shop_and_no_picture() -> None:
    async with opened_display() as page, watching(page) as stream:
        first = await anext(stream)
        assert (first.tree["kind"], first.tree["title"]) == ("idle", "Corner Shop")
        assert "no picture" in first.tree["words"]
        page.display.offer(frame())
        second = await anext(stream)  # the heartbeat
        assert second.tree["kind"] == "idle" and second.picture == b"" and page.display._drawing is None


async def test_verification_is_shown_from_the_first_hint_to_the_end() -> None:
    async with opened_display() as page, watching(page) as stream:
        begun = page.begin()
        look = await until_kind(stream, "guide")
        assert (look.tree["symbol"], look.tree["words"]) == ("look_here", "Look here")
        assert 0 < look.tree["left_ms"] <= look.tree["total_ms"] <= 8_000  # some ms may have passed before
        page.display.offer(frame())
        assert await picture_of(stream) == A_FACE
        page.hint(begun, Guidance.TURN_LEFT)
        assert (await until_symbol(stream, "turn_left")).tree["words"] == "Turn head left"
        ended_s = time.monotonic()
        page.end(begun, Decision.MATCH, Reason.SAME_PERSON)
        end = await until_kind(stream, "end")
        assert end.tree["symbol"] == "recognised" and end.picture == b""
        page.display.offer(frame())
        idle = await until_kind(stream, "idle")
        assert idle.picture == b"" and time.monotonic() - ended_s >= 0.9 * ENDING_MS / 1e3
        assert page.display._picture is None and page.display._next is None, "no picture is kept"


@pytest.mark.parametrize(
    ("wanted", "default", "words"),
    [("zh-Hans-CN", "en", "请看这里"), (None, "zh-CN", "请看这里"), ("en-GB", "zh-CN", "Look here")],
)
async def test_language_is_that_of_the_request_else_of_the_config(
    wanted: str | None, default: str, words: str
) -> None:
    async with opened_display(options=replace(OPTIONS, locale=default)) as page, watching(page) as stream:
        page.begin(locale=wanted)
        assert (await until_kind(stream, "guide")).tree["words"] == words


async def test_frame_of_an_earlier_time_is_not_drawn() -> None:
    """The frame shows what was in front of the camera before the request."""
    drawn: list[Frame] = []

    def draw(each: Frame) -> bytes:
        drawn.append(each)
        return A_FACE

    async with opened_display(draw) as page, watching(page) as stream:
        await anext(stream)
        early = frame(seq=1)
        page.begin()
        page.display.offer(replace(early, captured_ms=early.captured_ms - 1_000))
        later = frame(seq=2)
        page.display.offer(later)
        assert await picture_of(stream) == A_FACE and drawn == [later]


async def test_nothing_is_drawn_without_a_viewer() -> None:
    async with opened_display() as page:
        page.begin()
        page.display.offer(frame())
        assert page.display._drawing is None and page.display._next is None


async def test_slow_drawing_skips_frames_and_holds_up_no_caller() -> None:
    """The frames that arrive while one is drawn are replaced by the newest of them."""
    go, drawn = threading.Event(), list[int]()

    def draw(each: Frame) -> bytes:
        drawn.append(each.seq)
        assert go.wait(60)
        return str(each.seq).encode()

    async with opened_display(draw) as page, watching(page) as stream:
        await anext(stream)
        begun = page.begin()
        try:
            for seq in range(1, 6):
                page.display.offer(replace(frame(seq=seq), captured_ms=begun.received_ms + 100 * seq))
                await until(lambda: drawn == [1])
        finally:
            go.set()
        while await picture_of(stream) != b"5":
            pass
        assert drawn == [1, 5]


async def test_picture_that_is_drawn_during_the_end_is_dropped() -> None:
    go = threading.Event()

    def draw(_: Frame) -> bytes:
        assert go.wait(60)
        return A_FACE

    async with opened_display(draw) as page, watching(page) as stream:
        await anext(stream)
        begun = page.begin()
        page.display.offer(frame())
        page.end(begun, Decision.UNDECIDED, Reason.NO_FACE)
        page.begin("sale-2")
        go.set()
        await until(lambda: page.display._drawing is None)
        assert page.display._picture is None, "a frame of one payer is never shown to the next"


async def test_no_picture_of_a_payer_stays_in_memory() -> None:
    pixels, kept = np.zeros((4, 4, 3), np.uint8), list[bytes]()
    seen = weakref.ref(pixels)

    def draw(each: Frame) -> bytes:
        kept.append(b"a face of %d" % each.seq)
        return kept[-1]

    async with opened_display(draw) as page, watching(page) as stream:
        await anext(stream)
        begun = page.begin()
        page.display.offer(frame(pixels))
        del pixels
        assert await picture_of(stream) == b"a face of 1"
        page.end(begun, Decision.UNDECIDED, Reason.CANCELLED)
        await until_kind(stream, "idle")
        await anext(stream)
        gc.collect()
        references = sys.getrefcount(kept[0]) - 2  # the list and the call
        assert seen() is None and references == 0


async def test_frame_without_a_picture_leaves_the_hint(caplog: pytest.LogCaptureFixture) -> None:
    def draw(each: Frame) -> bytes:
        if each.seq < 3:
            raise ImageError("no picture")
        return A_FACE

    async with opened_display(draw) as page, watching(page) as stream:
        begun = page.begin()
        await until_kind(stream, "guide")
        for seq in (1, 2, 3):
            page.display.offer(replace(frame(seq=seq), captured_ms=begun.received_ms + 100 * seq))
            await until(lambda: page.display._drawing is None)
        assert await picture_of(stream) == A_FACE
        assert caplog.text.count("display_without_picture") == 1


async def test_second_viewer_gets_a_polite_message_and_the_first_continues() -> None:
    async with opened_display() as page, watching(page) as stream:
        await anext(stream)
        for _ in range(3):
            async with watching(page) as other:
                only = [each async for each in other]
                assert [each.tree["kind"] for each in only] == ["busy"]
                assert "another window" in only[0].tree["words"] and "窗口" in only[0].tree["words"]
        page.begin()
        assert (await until_kind(stream, "guide")).tree["symbol"] == "look_here"


async def test_twenty_tabs_are_bounded_and_hold_up_nothing() -> None:
    async with opened_display() as page, watching(page) as stream:
        await anext(stream)
        tabs = [await asyncio.open_connection("127.0.0.1", page.listener.port) for _ in range(20)]
        try:
            await until(lambda: page.listener.refused > 0)
            assert len(page.listener.peers) <= 12
            page.begin()
            assert (await until_kind(stream, "guide")).tree["symbol"] == "look_here"
        finally:
            for _, writer in tabs:
                writer.close()


async def test_place_is_free_after_the_viewer_has_left() -> None:
    async with opened_display() as page:
        for _ in range(2):
            async with watching(page) as stream:
                assert (await anext(stream)).tree["kind"] == "idle"
            await until(lambda: page.display.viewers == 0)
            assert page.display._picture is None


async def test_viewer_that_reads_nothing_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_app, "SLOW_S", 0.2)
    async with opened_display(lambda _: A_FACE + b"x" * 400_000) as page:
        stuck = socket.create_connection(("127.0.0.1", page.listener.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        key = page.start_url.partition("#")[2]
        stuck.sendall(
            f"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        await until(lambda: page.display.viewers == 1)
        begun = page.begin(budget_ms=60_000)
        seq = 0

        def is_dropped() -> bool:
            nonlocal seq
            seq += 1
            page.display.offer(replace(frame(), captured_ms=begun.received_ms + 100 * seq))
            return page.display.viewers == 0

        await until(is_dropped, 60)
        stuck.close()


@pytest.mark.parametrize("header", ["", "Bearer x", "Bearer wrong", "Basic x", "Bearer \xe9"])
async def test_stream_without_the_key_is_refused(header: str) -> None:
    async with opened_display() as page, page.client() as client:
        answer = await client.get("/stream", headers=[(b"Authorization", header.encode("latin-1"))])
        assert answer.status_code == 401 and "payer-display.md" in answer.text
        assert page.display.viewers == 0


async def test_each_answer_forbids_caches_foreign_content_and_other_hosts() -> None:
    async with opened_display() as page, page.client() as client:
        for path in ("/", "/display.js", "/display.css", "/favicon.ico"):
            answer = await client.get(path)
            assert answer.status_code in {200, 204}
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            assert answer.headers["cache-control"] == "no-store"
        async with client.stream("GET", "/stream") as answer:
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        refused = await client.get("/stream", headers={"Host": "evil.example"})
        assert refused.status_code == 421
        refused = await client.get("/stream", headers={"Origin": "http://shop.example"})
        assert refused.status_code == 403
        for path in ("/status.json", "/metrics", "/login", "/preview.mjpg"):
            assert (await client.get(path)).status_code == 404, "nothing of the diagnostics page"


async def test_head_request_takes_no_place() -> None:
    async with opened_display() as page, page.client() as client:
        assert (await client.head("/stream")).status_code == 200
        assert page.display.viewers == 0


async def test_key_survives_a_restart_and_the_start_page_is_for_its_owner_only() -> None:
    async with opened_display() as page:
        file, url = page.directory / FILE, page.start_url
        assert file.stat().st_mode & 0o777 == 0o600
        assert url.startswith(f"http://127.0.0.1:{page.listener.port}/#")
        again = DisplayKey(page.directory)
        again.write(1234)
        assert start_url(page.directory).partition("#")[2] == url.partition("#")[2]
        file.write_text("damaged")
        other = DisplayKey(page.directory)
        other.write(1234)
        assert start_url(page.directory).partition("#")[2] != url.partition("#")[2]


def test_page_has_no_text_no_inline_script_and_a_symbol_for_each_hint_and_ending() -> None:
    html = data("page/display.html").read_text(encoding="utf-8")
    assert "style=" not in html and html.count("<script") == 1 and " on" not in html.replace(" only", "")
    for hint in Guidance:
        for locale in locales():
            assert 0 < max(len(line) for line in hint_words(hint).write(locale).splitlines()) <= 40
    for code in (
        "look_here",
        "turn_left",
        "turn_right",
        "recognised",
        "not_this_time",
        "another_way",
        "other",
    ):
        assert f'<symbol id="{code}"' in html


async def test_change_while_a_message_is_sent_is_in_the_next_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.page.payer_display.HEARTBEAT_S", 3_600.0)
    async with opened_display() as page:
        sending = page.display.messages()
        assert isinstance((await anext(sending)).screen, Idle)
        begun = page.begin()
        async with asyncio.timeout(60):
            shown = (await anext(sending)).screen
            assert isinstance(shown, Guiding) and shown.hint is Guidance.LOOK_HERE
            page.hint(begun, Guidance.STEP_BACK)
            shown = (await anext(sending)).screen
        assert isinstance(shown, Guiding) and shown.hint is Guidance.STEP_BACK
        await sending.aclose()


async def test_timer_that_ends_early_on_the_boot_clock_is_set_again() -> None:
    """Two clocks: the event loop's timer can end while the boot clock is a millisecond behind."""
    now_ms = 1_000
    with ThreadPoolExecutor(1) as worker:
        display = PayerDisplay(lambda: now_ms, lambda _: A_FACE, worker)
        asked = replace(request("sale-1"), received_ms=now_ms, budget_ms=20)
        display.observe(AcceptedEvent(asked, 20))
        now_ms = 1_019
        await asyncio.sleep(0.1)
        assert isinstance(display.screen, Guiding)
        now_ms = 1_020
        await until(lambda: isinstance(display.screen, Idle))
        await display.close()


async def test_bug_in_the_screen_reaches_no_caller(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("agent.page.payer_display.advance", broken)
    async with opened_display() as page:
        page.begin()
        assert page.display.screen == Idle() and "bug_in_display" in caplog.text


async def picture_of(stream: AsyncIterator[Received]) -> bytes:
    """The next picture."""
    async with asyncio.timeout(60):
        async for each in stream:
            if each.picture:
                return each.picture
    raise AssertionError("the stream ended without a picture")


async def until_symbol(stream: AsyncIterator[Received], symbol: str) -> Received:
    async with asyncio.timeout(60):
        async for each in stream:
            if each.tree.get("symbol") == symbol:
                return each
    raise AssertionError(f"the stream ended without {symbol}")
