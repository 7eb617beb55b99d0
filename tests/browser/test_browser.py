"""The page in a real browser, in desktop and phone size, with a real agent."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator

from agent.demo.demo_system import VISITS, DemoSystem
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.order import most_urgent_first
from agent.health.conditions_board import OUTBOX_RESET
from agent.page import preview
from agent.texts import Text, best_locale, texts_below
from tests.browser.kit import DESKTOP, PHONE, TOKEN, Tab, desk, needs_a_browser
from tests.page.kit import until
from tests.texts import french_installed, zh

pytestmark = pytest.mark.long
VISIT = {visit.title: visit for visit in VISITS}
VISITS_MAX = 5
BUSY_S = 60.0  # an upper bound for a machine with other work
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(autouse=True)
def there_is_a_browser() -> None:
    needs_a_browser()


async def is_a_notice(picture: Locator) -> bool:
    """Whether the picture is a notice: grey with white letters, no camera picture."""
    shot = cv2.imdecode(np.frombuffer(await picture.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert shot is not None
    return bool(np.mean(np.abs(shot[10:120].astype(int) - 48) < 12) > 0.95)


async def becomes(tab: Tab, notice: bool) -> None:
    async with asyncio.timeout(BUSY_S):
        while await is_a_notice(tab.page.locator("#stage img")) is not notice:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def played_to_a_match(stage: DemoSystem) -> None:
    """A verification that a busy machine can finish; three tries, because each limit is one of time."""
    visit = replace(VISIT["service back"], ttl_ms=40_000)
    for _ in range(3):
        if (await stage.play(visit)).verdict.decision == "match":
            return
    raise AssertionError(stage.agent.terminal.counters.recent)


async def test_page_shows_the_status_and_runs_the_doctor() -> None:
    async with desk(budget_ms=40_000, ask_timeout_ms=20_000) as (stage, browser):
        await played_to_a_match(stage)
        tab = await browser.tab()
        await tab.shows("#who", "demo / terminal-1")
        await tab.shows("#state", "ONLINE")
        await tab.shows("#rows .run", "the customer is the holder of the enrolled photo")
        result = stage.agent.terminal.counters.recent[-1]
        await tab.shows("#rows .run", f"till {result.request.till}, request {result.request.request_id}")
        time_of_day = await tab.page.locator("#rows h3 span").nth(1).inner_text()
        assert re.fullmatch(r"\d{1,2}:\d\d:\d\d [AP]M", time_of_day.replace("\u202f", " ")), time_of_day
        assert await tab.page.locator("#rows .fall i").count() >= 3, "a waterfall has its parts"
        assert await tab.page.locator("#made").inner_text() == str(stage.agent.terminal.counters.calls)
        await tab.page.click("#examine")
        await tab.shows("#summary", "Faults: ")
        rows = (await (await tab.page.request.get(f"{browser.url}/doctor.json")).json())["rows"]
        await tab.page.locator("#findings details").last.locator("summary").click()
        await tab.shows("#findings .finding", "model.integrity")
        assert len(rows) == len(CHECKS)
        # a check that failed on a busy machine has consequences: one line for all of them
        shown = [row["id"] for row in rows if not row["because"]] + [*{row["because"] for row in rows} - {""}]
        assert await tab.page.locator("#findings .finding").count() == len(shown)
        await tab.page.click("#language")
        await tab.shows("#rows .run", "一致")
        await tab.page.locator("#findings details").last.locator("summary").click()
        await tab.shows("#findings .finding", "磁盘")
        assert await tab.page.locator("#h-camera").inner_text() == "摄像头"
        stage.agent.terminal.conditions.raise_(OUTBOX_RESET)
        await tab.shows("#conditions .condition", zh(OUTBOX_RESET.fix))
        await tab.shows("#conditions .condition", zh(OUTBOX_RESET.cause))
        await tab.shows("#conditions .condition", "docs/reference/conditions.md#outbox_reset")
        await tab.shows("#state", "异常")
        assert tab.complaints == []


async def test_doctor_is_first_on_a_phone_and_its_faults_are_above_the_rest() -> None:
    async with desk() as (stage, browser):
        await stage.service.stop()  # a cause, and its consequences
        for locale, folded in (("en-US", "skipped because net.tcp failed"), ("zh-CN", "因 net.tcp 未通过")):
            tab = await browser.tab(viewport=PHONE, locale=locale)
            await tab.shows("#who", "demo / terminal-1")
            button = await tab.page.locator("#examine").bounding_box()
            assert button is not None and button["y"] + button["height"] < PHONE["height"], (
                "without scrolling"
            )
            assert await tab.page.locator("main > *").first.get_attribute("id") == "doctor"
            await tab.page.click("#examine")
            await tab.shows("#findings .is-fail", "docs/reference/doctor.md#nettcp")
            await tab.page.get_by_role("link", name="net.tcp", exact=True).click()
            await tab.shows("h1", Text("check.net.tcp").write(best_locale(locale)))
            assert await tab.page.locator("html").get_attribute("lang") == best_locale(locale)
            await tab.page.go_back()
            await tab.shows("#findings .is-fail", "net.tcp")
            verdicts = await tab.page.locator("#findings summary b").all_inner_texts()
            assert verdicts == [sign for sign in "✗!–✓" if sign in verdicts] and verdicts[0] == "✗"
            rows = (await (await tab.page.request.get(f"{browser.url}/doctor.json")).json())["rows"]
            order = await tab.page.locator("#findings .finding > p:first-child code").all_text_contents()
            assert order == [row["id"] for row in most_urgent_first(rows) if row["id"] in order], (
                "as the command"
            )
            opened = await tab.page.locator("#findings details[open] summary b").all_inner_texts()
            assert set(opened) <= {"✗", "!"}
            skipped = tab.page.locator("#findings details", has=tab.page.locator("b", has_text="–"))
            await skipped.locator("summary").click()
            await tab.shows("#findings .finding", folded)
            assert tab.complaints == []


async def test_texts_of_the_preview_are_readable_on_a_phone_in_both_languages() -> None:
    async with desk() as (stage, browser):
        await stage.show_scene("one_obama_portrait")
        for locale, sharpness in (("en-US", "sharpness"), ("zh-CN", "清晰度")):
            tab = await browser.tab(viewport=PHONE, locale=locale)
            await tab.page.click("#look")
            await tab.shows("#measures span", sharpness)
            reasons = {text.write(best_locale(locale)) for text in texts_below("frame").values()}
            caption = await tab.page.locator("#caption").inner_text()
            assert caption.partition(" → ")[0] in reasons, caption
            for selector, least_px in (("#caption", 18), ("#measures span", 14)):
                # found and measured in one step: each picture replaces the element
                size = await tab.page.evaluate(
                    "selector => getComputedStyle(document.querySelector(selector)).fontSize", selector
                )
                assert float(size.removesuffix("px")) >= least_px, (selector, size)
            assert await tab.page.evaluate(OVERFLOW) == 0
            await tab.page.click("#look")
            assert await tab.page.locator("#measures").is_hidden()
            assert tab.complaints == []


async def test_pause_of_the_preview_is_a_text_of_the_page() -> None:
    async with desk() as (stage, browser):
        await stage.show_scene("one_obama_portrait")
        tab = await browser.tab(locale="zh-CN")
        await tab.page.click("#look")
        await becomes(tab, notice=False)
        playing = asyncio.create_task(stage.play(VISIT["two payers"]))
        await tab.shows("#caption", "已暂停")
        assert await tab.page.locator("#measures").is_hidden(), "no facts about a payer"
        await playing


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessibility_rules_find_no_violation(locale: str, scheme: str) -> None:
    """axe-core on each state of the page: login, status, findings, condition, live preview, documentation."""
    async with desk() as (stage, browser):
        await stage.play(VISIT["the holder walks up"])
        await stage.show_scene("one_obama_portrait")
        login = await browser.tab(await browser.stranger(locale=locale, color_scheme=scheme), "/login")
        assert await violations(login) == []
        await stage.service.stop()
        stage.agent.terminal.conditions.raise_(OUTBOX_RESET, "a detail")
        for viewport in (DESKTOP, PHONE):
            tab = await browser.tab(locale=locale, color_scheme=scheme, viewport=viewport)
            await tab.shows("#conditions .condition", "outbox_reset")
            assert await violations(tab) == []
            await tab.page.click("#look")
            await tab.page.locator("#measures b").first.wait_for(timeout=60_000)
            await tab.page.click("#examine")
            await tab.page.locator("#findings .is-fail").first.wait_for(timeout=60_000)
            assert await violations(tab) == []
            for section in ("doctor/nettcp", "conditions/outbox_reset"):
                await tab.page.goto(f"{browser.url}/docs/reference/{section}?lang={best_locale(locale)}")
                assert await violations(tab) == []
            await tab.page.context.close()


async def violations(tab: Tab) -> list[str]:
    """The broken rules of axe-core, each with the first element that breaks it."""
    found = (await Axe().run(tab.page)).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]


async def test_preview_is_open_while_viewed_and_shows_no_payer() -> None:
    async with desk() as (stage, browser):
        await stage.show_scene("one_obama_portrait")
        tab = await browser.tab()
        assert stage.agent.frame_tap.watched is False, "an open page opens no preview"
        await tab.page.click("#look")
        await becomes(tab, notice=False)
        assert stage.agent.frame_tap.watched is True
        playing = asyncio.create_task(stage.play(VISIT["two payers"]))
        await becomes(tab, notice=True)
        assert (await playing).verdict.result, (
            "and the payer was served; a busy machine may see no face in time"
        )
        await becomes(tab, notice=False)
        await tab.page.click("#look")
        await until(lambda: not stage.agent.frame_tap.watched, BUSY_S)
        assert tab.complaints == []


async def test_hidden_tab_closes_the_preview() -> None:
    async with desk() as (stage, browser):
        tab = await browser.tab()
        await tab.page.click("#look")
        await until(lambda: stage.agent.frame_tap.watched, BUSY_S)
        await tab.page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
        await tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await until(lambda: not stage.agent.frame_tap.watched, BUSY_S)
        assert await tab.page.locator("#stage img").count() == 0


async def test_a_preview_that_the_agent_ended_is_closed_on_the_page_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preview, "OPEN_MAX_S", 3.0)
    async with desk() as (stage, browser):
        await stage.show_scene("one_obama_portrait")
        tab = await browser.tab()
        await tab.page.click("#look")
        await becomes(tab, notice=False)
        await tab.shows("#watched", "Live picture open")
        await tab.shows("#closed", "Closed. No picture is shown.")
        await tab.page.locator("#watched").wait_for(state="hidden")
        await until(lambda: not stage.agent.frame_tap.watched, BUSY_S)
        assert tab.complaints == []


async def test_hanging_agent_leaves_no_old_picture_and_no_old_status() -> None:
    async with desk() as (stage, browser):
        await stage.show_scene("one_obama_portrait")
        tab = await browser.tab()
        await tab.page.click("#look")
        await becomes(tab, notice=False)
        await tab.page.route("**/status.json", lambda _never: None)
        await tab.shows("#away", "does not answer")
        await tab.shows("#state", "NO ANSWER")
        assert await tab.page.locator("#stage img").count() == 0
        await tab.page.unroute("**/status.json")
        await tab.shows("#state", "ONLINE")
        await tab.page.locator("#away").wait_for(state="hidden")


async def test_page_works_with_keyboard_and_screen_reader() -> None:
    async with desk() as (stage, browser):
        await stage.play(VISIT["the holder walks up"])
        tab = await browser.tab()
        await tab.shows("#rows .run", "match")
        names = await tab.page.evaluate("""async () => {
            const spoken = [];
            const watch = (list) => list.forEach((each) => {
                const live = each.target.parentElement?.closest("[role=status], [aria-live]");
                if (live && live.ariaLive !== "off") spoken.push(live.id);
            });
            const all = { childList: true, characterData: true, subtree: true };
            new MutationObserver(watch).observe(document.body, all);
            await new Promise((done) => setTimeout(done, 5000));
            return spoken;
        }""")
        assert names == [], "a screen reader reads nothing aloud while nothing changes"
        for _ in range(4):  # language, log out, doctor, preview
            await tab.page.keyboard.press("Tab")
        await tab.page.keyboard.press("Enter")
        await until(lambda: stage.agent.frame_tap.watched, BUSY_S)
        await tab.page.keyboard.press("Enter")
        await until(lambda: not stage.agent.frame_tap.watched, BUSY_S)
        unnamed = (
            "section:not([aria-labelledby], [aria-label]), button:empty, img:not([alt]), input:not([id])"
        )
        assert await tab.page.locator(unnamed).evaluate_all("all => all.map((each) => each.id)") == []


async def test_fifty_tabs_with_preview_delay_no_verification() -> None:
    async with desk(budget_ms=30_000) as (stage, browser):
        context = await browser.context()
        tabs = [await browser.tab(context) for _ in range(50)]
        for tab in tabs:
            await tab.page.evaluate("document.getElementById('look').click()")
        await until(lambda: stage.agent.frame_tap.watched, BUSY_S)
        # the tabs need the processor, too: on a busy machine the deadline is far, and the payer tries again
        visit = replace(VISIT["the holder walks up"], ttl_ms=30_000)
        ends = list[tuple[str, str]]()
        for _ in range(VISITS_MAX):
            row = await stage.play(visit)
            ends.append((row.verdict.decision, row.verdict.reason))
            if row.as_expected:
                break
        assert ends[-1] == (visit.decision, visit.reason), f"the payer is served: {ends}"
        assert {decision for decision, _ in ends[:-1]} <= {"undecided"}
        shown = [await tab.page.locator("#stage img").count() for tab in tabs]
        assert 1 <= sum(shown) <= 2
        elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with httpx.AsyncClient(base_url=browser.url, transport=elsewhere) as another:
            entered = await another.post("/login", data={"token": (await browser.link()).partition("#")[2]})
            assert entered.status_code == 303
            assert (await another.get("/status.json")).status_code == 200, "another machine's browser"
        await tabs[-1].page.reload()
        await tabs[-1].shows("#rows .run", "match")
        await context.close()
        await until(lambda: not stage.agent.frame_tap.watched, BUSY_S)


async def test_a_phone_needs_no_scrolling_sideways_in_either_language() -> None:
    async with desk() as (stage, browser):
        await stage.play(VISIT["another person"])
        for locale, state in (("en-US", "ONLINE"), ("zh-CN", "正常")):
            tab = await browser.tab(viewport=PHONE, locale=locale, has_touch=True, is_mobile=True)
            await tab.shows("#state", state)
            await tab.page.click("#examine")
            closed = tab.page.locator("details:not([open]) summary")
            await closed.first.wait_for(timeout=60_000)
            while await closed.count():
                await closed.first.click()
            await tab.page.locator(".finding").nth(20).wait_for()
            assert await tab.page.evaluate(OVERFLOW) == 0
            assert tab.complaints == []


async def test_a_third_language_is_a_choice_on_the_page(tmp_path: Path) -> None:
    with french_installed(tmp_path):
        async with desk() as (_, browser):
            tab = await browser.tab(locale="fr-CA")
            await tab.shows("#state", "[fr] ONLINE")
            await tab.shows("#h-camera", "[fr] Camera")
            for locale, heading in (("zh-CN", "摄像头"), ("en", "Camera"), ("fr", "[fr] Camera")):
                await tab.page.click("#language")
                assert await tab.page.locator("#h-camera").inner_text() == heading
                assert await tab.page.locator("html").get_attribute("lang") == locale
            await tab.page.reload()
            await tab.shows("#h-camera", "[fr] Camera")
            assert tab.complaints == []


async def test_token_is_entered_once_and_appears_in_no_address(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    async with desk(file) as (_, browser):
        context = await browser.stranger()
        tab = await browser.tab(context)
        for given, lands_on in (("a-wrong-token-of-length", "/login"), (TOKEN, "/")):
            await tab.page.fill("#token", given)
            await tab.page.click("button.main")
            await tab.page.wait_for_url(f"**{lands_on}")
            assert given not in tab.page.url
            assert await tab.page.locator("#wrong").is_visible() is (lands_on == "/login")
        await tab.shows("#state", "ONLINE")
        again = await browser.tab(context)
        await again.shows("#state", "ONLINE")
        await again.page.click("#logout button")
        await again.page.wait_for_url("**/login")
        assert again.complaints == []
        assert [each for each in tab.complaints if "401" not in each] == [], "the wrong token, and no more"


async def test_link_opens_the_page_once_and_appears_in_no_address_and_history() -> None:
    async with desk() as (_, browser):
        link = await browser.link()
        asked: list[str] = []
        for opens in (True, False):
            context = await browser.stranger()
            context.on("request", lambda request: asked.append(request.url + str(request.headers)))
            tab = await browser.tab(context, link)
            if opens:
                await tab.shows("#state", "ONLINE")
                await tab.page.go_back()
                assert tab.complaints == []
            else:
                await tab.shows("#wrong", "the link was used")
            assert "#" not in tab.page.url
        secret = link.partition("#")[2]
        assert asked and not any(secret in each for each in asked), "neither an address nor a referrer"


async def test_another_sites_page_sees_nothing_and_starts_nothing() -> None:
    async with desk() as (stage, browser):
        await stage.show_scene("one_obama_portrait")
        rebound = await browser.context()  # a logged-in context
        page = await rebound.new_page()
        port = browser.url.rpartition(":")[2]
        answer = await page.goto(f"http://evil.example:{port}/")
        assert answer is not None and answer.status == 421
        foreign = f"""<b></b><img src="{browser.url}/preview.mjpg"><iframe src="{browser.url}/"></iframe>
            <script>
              const say = (words) => () => {{ document.querySelector("b").textContent = words; }};
              fetch("{browser.url}/status.json").then(say("read"), say("refused"));
            </script>"""
        await page.route(
            "http://shop.example/", lambda route: route.fulfill(body=foreign, content_type="text/html")
        )
        await page.goto("http://shop.example/")
        await page.locator("b", has_text="refused").wait_for(timeout=10_000)
        assert await page.locator("img").evaluate("image => image.naturalWidth") == 0
        for frame in page.frames[1:]:
            assert await frame.locator("#who").count() == 0
        assert stage.agent.frame_tap.watched is False
