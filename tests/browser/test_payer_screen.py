"""The payer's screen in a real Chromium: with a real agent, and in each state, language and size."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
from axe_playwright_python.async_playwright import Axe

from agent.core.reasons import Decision, Guidance, Reason
from agent.page.display_app import hint_words
from tests.browser.kit import Tab, browser, needs_a_browser
from tests.browser.payer_kit import SIZES, PayerScreen, payer_screen, payer_tab, shows, states
from tests.page.display_kit import OPTIONS
from tests.page.kit import until

pytestmark = pytest.mark.long  # a browser starts in seconds, and each test shows many screens
BLANK_S = 2.0
# read through a copy: a canvas that is read often is a warning on the console
PICTURE_LEFT = """(() => {
  const copy = new OffscreenCanvas(480, 480).getContext("2d", { willReadFrequently: true });
  copy.drawImage(document.getElementById("picture"), 0, 0);
  return copy.getImageData(0, 0, 480, 480).data.some((value) => value > 0);
})()"""
# an element whose text is cut or outside the window
OUTSIDE = """(() => [...document.querySelectorAll("h1, p, #symbol")].filter((each) => {
  const box = each.getBoundingClientRect();
  const isShown = box.width > 0 && (each.tagName === "svg" || each.textContent);
  const isInside = box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
  return isShown && !isInside;
}).map((each) => each.id))()"""


@pytest.fixture(autouse=True)
def there_is_a_browser() -> None:
    needs_a_browser()


async def shows_picture(tab: Tab) -> None:
    """Wait until the picture of the camera is on the screen.

    The browser's own waiting evaluates text inside the page, which the page's
    Content-Security-Policy refuses from the second attempt on.
    """
    async with asyncio.timeout(60):
        while not await tab.page.evaluate(PICTURE_LEFT):  # noqa: ASYNC110 - the canvas knows no event
            await asyncio.sleep(0.02)


async def blank_after(tab: Tab) -> float:
    """Seconds from the ending to the idle screen, by the clock of the page."""
    script = """() => new Promise((resolve) => {
      const main = document.getElementById("screen"), times = {};
      const note = () => {
        times[main.dataset.kind] ??= performance.now();
        if (times.end && times.idle > times.end) resolve((times.idle - times.end) / 1000);
      };
      new MutationObserver(() => { if (main.dataset.kind !== "guide") { note(); } }).observe(
        main, { attributes: true, attributeFilter: ["data-kind"] });
    })"""
    return float(await tab.page.evaluate(script))


async def test_holder_sees_a_mirror_a_hint_and_the_end_and_the_screen_is_blank_again() -> None:
    async with payer_screen() as screen:
        tab = await screen.tab()
        await shows(tab, "idle")
        assert await tab.page.locator("h1").inner_text() == "Corner Shop"
        assert await tab.page.evaluate(PICTURE_LEFT) is False
        await screen.stage.show_scene("one_obama_portrait")
        blank = asyncio.create_task(blank_after(tab))
        await asyncio.sleep(0.5)
        asked = screen.ask("obama_podium", ttl_ms=60_000, locale="zh-CN")
        await shows(tab, "guide")
        await shows(tab, "end", "recognised")
        assert await tab.page.locator("#words").inner_text() == "识别成功"
        assert await tab.page.evaluate(PICTURE_LEFT) is False
        assert (await asked).decision == "match"
        assert 0 < await blank <= BLANK_S
        assert await tab.page.evaluate(PICTURE_LEFT) is False
        assert tab.complaints == []


async def test_live_picture_is_shown_while_the_payer_is_guided_and_deleted_after() -> None:
    async with payer_screen() as screen:
        tab = await screen.tab()
        await shows(tab, "idle")
        await screen.stage.show_scene("two_people")
        asked = screen.ask("obama_podium", ttl_ms=5_000)
        await shows(tab, "guide", "one_person")
        await shows_picture(tab)
        await shows(tab, "end", "not_this_time")
        await shows(tab, "idle")
        assert await tab.page.evaluate(PICTURE_LEFT) is False
        await asked
        assert tab.complaints == []


async def test_second_tab_is_refused_politely_and_twenty_tabs_hold_up_no_payment() -> None:
    async with payer_screen() as screen:
        first = await screen.tab()
        await shows(first, "idle")
        context = first.page.context
        tabs = [await context.new_page() for _ in range(20)]
        await asyncio.gather(
            *(page.goto(screen.url, wait_until="commit") for page in tabs), return_exceptions=True
        )
        await tabs[0].locator("#screen[data-kind=busy]").wait_for(timeout=60_000)
        assert "another window" in await tabs[0].locator("#words").inner_text()
        await screen.stage.show_scene("one_obama_portrait")
        assert (await screen.ask("obama_podium", ttl_ms=60_000)).decision == "match"
        await context.close()
        again = await screen.tab()
        await shows(again, "idle")


async def test_browser_that_dies_and_a_browser_that_hangs_hold_up_no_payment() -> None:
    async with payer_screen() as screen:
        tab = await screen.tab()
        await shows(tab, "idle")
        hung = await renderers(screen)
        for process in hung:
            os.kill(process, signal.SIGSTOP)
        try:
            await screen.stage.show_scene("one_obama_portrait")
            assert (await screen.ask("obama_podium", ttl_ms=60_000)).decision == "match"
        finally:
            for process in hung:
                os.kill(process, signal.SIGCONT)
        await screen.browser.close()
        assert (await screen.ask("obama_podium", ttl_ms=60_000)).decision == "match"


async def renderers(screen: PayerScreen) -> list[int]:
    """The processes of this test's browser."""
    session = await screen.browser.new_browser_cdp_session()
    found = await session.send("SystemInfo.getProcessInfo")
    return [int(each["id"]) for each in found["processInfo"] if each["type"] == "renderer"]


async def test_agent_that_stops_answering_leaves_no_face_on_the_screen() -> None:
    """The stream breaks during a verification: the page removes the picture by itself, and connects again."""
    async with browser() as made, states() as page:
        tab = await payer_tab(made, page.start_url, (480, 320))
        await shows(tab, "idle")
        begun = page.begin(budget_ms=60_000)
        await page.show_face(begun)
        await shows_picture(tab)
        await page.listener.stop_accepting()
        for each in page.listener.open_now:
            each.transport.abort()
        await shows(tab, "idle")
        assert await tab.page.evaluate(PICTURE_LEFT) is False


async def test_silent_agent_leaves_no_face_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stays open without a message: a hung process, a full machine."""
    async with browser() as made, states() as page:
        tab = await payer_tab(made, page.start_url, (480, 320))
        await shows(tab, "idle")
        begun = page.begin(budget_ms=60_000)
        await page.show_face(begun)
        await shows_picture(tab)
        monkeypatch.setattr("agent.page.payer_display.HEARTBEAT_S", 3_600.0)
        await shows(tab, "idle")
        assert await tab.page.evaluate(PICTURE_LEFT) is False


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
@pytest.mark.parametrize("size", SIZES)
async def test_every_hint_and_ending_fits_the_screen(size: tuple[int, int], locale: str) -> None:
    """Inside the window, with a symbol of its own, and letters of at least 8 % of the shorter side."""
    async with browser() as made, states(replace(OPTIONS, locale=locale)) as page:
        tab = await payer_tab(made, page.start_url, size)
        await shows(tab, "idle")
        assert await tab.page.evaluate(OUTSIDE) == []
        symbols = set()
        for hint in Guidance:
            begun = page.begin(f"sale-{hint}", locale=locale)
            page.hint(begun, hint)
            await shows(tab, "guide", hint)
            assert (
                await tab.page.locator("#words").inner_text()
                == str(hint_words(hint).write(locale)).partition("\n")[0]
            )
            assert await tab.page.evaluate(OUTSIDE) == [], hint
            assert await letters_px(tab) >= 0.08 * min(size), hint
            symbols.add(await tab.page.locator("#use").get_attribute("href"))
        assert len(symbols) == len(Guidance), "no two hints have the same symbol"
        for decision, reason, code in ENDINGS:
            page.end(page.begin(f"sale-{code}", locale=locale), decision, reason)
            await shows(tab, "end", code)
            assert await tab.page.evaluate(OUTSIDE) == [], code
            assert await letters_px(tab) >= 0.08 * min(size), code
        assert tab.complaints == []


ENDINGS = (
    (Decision.MATCH, Reason.SAME_PERSON, "recognised"),
    (Decision.UNDECIDED, Reason.NO_FACE, "not_this_time"),
    (Decision.NO_MATCH, Reason.DIFFERENT_PERSON, "another_way"),
)


async def letters_px(tab: Tab) -> float:
    size = await tab.page.evaluate("getComputedStyle(document.getElementById('words')).fontSize")
    return float(size.removesuffix("px"))


async def test_accessibility_rules_motion_and_contrast() -> None:
    async with browser() as made, states() as page:
        for more in ({}, {"reduced_motion": "reduce"}, {"contrast": "more"}):
            tab = await payer_tab(made, page.start_url, (720, 1280), **more)
            await shows(tab, "idle")
            assert await violations(tab) == []
            begun = page.begin(budget_ms=60_000)
            page.hint(begun, Guidance.TURN_LEFT)
            await shows(tab, "guide", "turn_left")
            assert await violations(tab) == []
            moves = await tab.page.evaluate(
                "getComputedStyle(document.getElementById('arrow-left')).animationName"
            )
            assert (moves == "none") is ("reduced_motion" in more)
            ground = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(0, 0, 0)") is ("contrast" in more)
            page.end(begun, *ENDINGS[0][:2])
            await shows(tab, "end")
            assert await violations(tab) == []
            await tab.page.context.close()
            await until(lambda: page.display.viewers == 0, 20)


async def violations(tab: Tab) -> list[str]:
    found = (await Axe().run(tab.page)).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]


async def test_sound_is_played_only_when_it_is_switched_on() -> None:
    for sound in (False, True):
        async with browser() as made, states(replace(OPTIONS, sound=sound)) as page:
            tab = await payer_tab(made, "about:blank", (480, 320))
            await tab.page.add_init_script(
                "window.tones = 0; const real = AudioContext.prototype.createOscillator;"
                "AudioContext.prototype.createOscillator = function () { tones++; return real.call(this); }"
            )
            await tab.page.goto(page.start_url)
            await shows(tab, "idle")
            begun = page.begin(budget_ms=60_000)
            await shows(tab, "guide")
            page.hint(begun, Guidance.TURN_RIGHT)
            await shows(tab, "guide", "turn_right")
            page.end(begun, *ENDINGS[0][:2])
            await shows(tab, "end")
            assert await tab.page.evaluate("tones") == (4 if sound else 0)


async def test_picture_outside_the_oval_is_dark_and_coarse_on_the_screen() -> None:
    async with browser() as made, states() as page:
        tab = await payer_tab(made, page.start_url, (720, 1280))
        await shows(tab, "idle")
        await page.show_face(page.begin(budget_ms=60_000))
        await shows_picture(tab)
        png = await tab.page.locator("#picture").screenshot()
        shot = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert shot is not None
        corner, middle = shot[40:160, 8:100], shot[250:450, 280:440]
        assert cv2.Laplacian(corner, cv2.CV_64F).var() < 0.05 * cv2.Laplacian(middle, cv2.CV_64F).var()
