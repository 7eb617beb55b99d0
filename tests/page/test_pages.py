"""The documents and texts of the page, also with many tabs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any

import httpx
import pytest

from agent.core.model import Timings
from agent.core.reasons import FrameReason
from agent.diagnostics.checks.table import CHECKS
from agent.health.conditions import CONDITIONS
from agent.page.doctor_job import Rows
from agent.page.page_texts import document, fill
from agent.resources import data
from agent.texts import locales
from tests.page.kit import ROW, PageSetup, opened, status

CHINESE = re.compile("[\u4e00-\u9fff]")


async def test_the_status_is_the_agents_document_and_the_pages_own_state() -> None:
    async with opened() as page, page.client() as client:
        status_json = (await client.get("/status.json")).json()
    assert status_json["counters"]["calls"] == 2 and status_json["last"][0]["timings_ms"]["api"] == 140
    assert status_json["page"] == {"preview": True, "viewers": 0, "paused": ""}
    text = json.dumps(status_json)
    assert status_json["last"][0]["request_id"] == "secret-sale-2"
    assert not any(word in text for word in ("sale-secret-sale", "session-of-the-api", "similarity"))


async def test_status_of_fifty_simultaneous_requests_is_made_once() -> None:
    made: list[int] = []

    def counted() -> dict[str, Any]:
        made.append(1)
        return status()

    six = httpx.Limits(max_connections=6)  # what a browser opens to one host, however many its tabs
    setup = PageSetup(status=counted)
    async with opened(setup, now_s=lambda: 1_000.0) as page, page.client(limits=six) as client:
        answers = await asyncio.gather(*(client.get("/status.json") for _ in range(50)))
    assert all(answer.status_code == 200 for answer in answers) and len(made) == 1


async def test_metrics_are_rendered_from_the_document() -> None:
    setup = PageSetup(metrics=lambda tree: f"x {tree['counters']['calls']}\n".encode())
    async with opened(setup) as page, page.client() as client:
        answer = await client.get("/metrics")
    assert answer.text == "x 2\n" and answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(("locale", "other"), [("en", "zh-CN"), ("zh-CN", "en")])
async def test_documentation_has_each_section_in_the_readers_language_only(locale: str, other: str) -> None:
    places = [check.docs for check in CHECKS]
    places += [f"docs/reference/conditions.md#{code}" for code in CONDITIONS]
    async with opened() as page, page.client() as client:
        for place in places:
            path = f"/{place.replace('.md#', '/')}"
            answer = await client.get(path, params={"lang": locale})
            assert answer.status_code == 200 and f'<html lang="{locale}">' in answer.text, path
            body = answer.text.partition("</nav>")[2]
            assert bool(CHINESE.search(body)) is (locale != "en"), path
            assert not re.search(r"[{}`]|\]\(|\.md#", body), "no placeholder, no Markdown"
            assert f'href="?lang={other}"' in answer.text and 'href="/"' in answer.text
            assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_documentation_without_a_language_follows_the_browser() -> None:
    async with opened() as page, page.client() as client:
        for accepted, locale in (
            ("zh-CN,zh;q=0.9", "zh-CN"),
            ("zh;q=0.9", "zh-CN"),
            ("fr", "en"),
            ("", "en"),
        ):
            answer = await client.get("/docs/reference/doctor/sysdisk", headers={"Accept-Language": accepted})
            assert f'<html lang="{locale}">' in answer.text


async def test_documentation_writes_no_part_of_the_request() -> None:
    async with opened() as page, page.client() as client:
        answer = await client.get("/docs/reference/doctor/sysdisk", params={"lang": '"><script>'})
    assert answer.status_code == 200 and "script" not in answer.text


@pytest.mark.parametrize(
    "path", ["doctor/no-such-check", "index/sysdisk", "conditions/x.y", "doctor/..%2f..%2fREADME"]
)
async def test_documentation_unknown_section_is_not_found(path: str) -> None:
    async with opened() as page, page.client() as client:
        assert (await client.get(f"/docs/reference/{path}")).status_code == 404


async def examined(client: httpx.AsyncClient) -> dict[str, Any]:
    """The doctor's report, after the run has ended."""
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = (await client.get("/doctor.json")).json()
            if not found["running"]:
                return found
            await asyncio.sleep(0.02)


async def test_the_doctor_runs_on_request_once_at_a_time_and_not_again_within_seconds() -> None:
    go, ran = threading.Event(), list[int]()

    def examine() -> Rows:
        ran.append(1)
        go.wait(60)
        return [ROW]

    ask = {"X-Facepay": "1"}
    async with opened(PageSetup(examine=examine)) as page, page.client() as client:
        assert (await client.get("/doctor.json")).json() == {"running": False, "rows": None, "age_s": None}
        assert not ran
        for _ in range(3):
            assert (await client.post("/doctor.json", headers=ask)).json()["running"] is True
        go.set()
        found = await examined(client)
        assert found == {"running": False, "rows": [ROW], "age_s": 0}
        assert (await client.post("/doctor.json", headers=ask)).json()["running"] is False
    assert ran == [1]


async def test_doctor_after_an_internal_error_can_run_again() -> None:
    def broken() -> Rows:
        raise RuntimeError("bug")

    async with opened(PageSetup(examine=broken)) as page, page.client() as client:
        for _ in range(2):
            assert (await client.post("/doctor.json", headers={"X-Facepay": "1"})).json()["running"] is True
            assert (await examined(client))["rows"] is None


async def test_shutdown_does_not_wait_for_the_doctor() -> None:
    go = threading.Event()
    async with asyncio.timeout(60):
        async with opened(PageSetup(examine=lambda: [ROW] * go.wait(60))) as page, page.client() as client:
            await client.post("/doctor.json", headers={"X-Facepay": "1"})
    go.set()


def _luminance(colour: str) -> float:
    digits = "".join(2 * each for each in colour[1:]) if len(colour) == 4 else colour[1:]
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_have_the_wcag_contrast_in_both_schemes() -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for the edge of buttons and input fields."""
    css = data("page/page.css").read_text(encoding="utf-8")
    for scheme in re.findall(r":root \{(.*?)\}", css, re.DOTALL):
        colours = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        for ground in ("ground", "card"):
            for ink in ("ink", "quiet", "good", "warn", "bad", "accent"):
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
            assert _contrast(colours["edge"], colours[ground]) >= 3, ground


def test_every_code_of_the_closed_lists_has_a_text() -> None:
    texts = document()
    assert texts.pop("locales") == locales()
    assert set(texts["frame"]) == set(FrameReason)
    assert set(Timings.__dataclass_fields__) - {"total"} == set(texts["phase"]) - {"other"}
    for kind in texts.values():
        assert all(len(each) == len(locales()) and all(each) for each in kind.values())


def test_every_text_of_the_page_comes_from_the_message_files() -> None:
    """A letter between tags, or in ``t("…")`` without a text, would appear in one language only."""
    keys = set(document()["page"])
    for name in ("index.html", "login.html"):
        raw = data(f"page/{name}").read_text(encoding="utf-8")
        assert set(re.findall(r'data-\w+="(\w+)"', raw)) <= keys
        body = raw.partition("<body>")[2]
        assert re.findall(r">[^<]*[^\W\d_][^<]*<", body.replace("<h1>facepay</h1>", "")) == []
        filled = fill(raw)
        assert re.search(r'data-(text|label)="\w+"[^>]*></', filled) is None and "data-texts" not in filled
    script = data("page/page.js").read_text(encoding="utf-8")
    calls = re.findall(r"\bt\(([^()]*)", script)
    assert len(calls) > 30 and {key for call in calls for key in re.findall(r'"(\w+)"', call)} <= keys
    assert {f"verdict_{verdict}" for verdict in re.findall(r"(\w+): \[\"", script)} <= keys
    assert not re.search("[\u3000-\u9fff]", script)


def test_the_page_loads_nothing_from_elsewhere_and_nothing_that_its_policy_forbids() -> None:
    names = ("index.html", "login.html", "page.js", "login.js", "page.css")
    files = {name: data(f"page/{name}").read_text(encoding="utf-8") for name in names}
    for name in ("index.html", "login.html"):
        html = fill(files[name])
        assert re.search(r"\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)|<style", html) is None
    for text in files.values():
        assert not re.search(r"https?://|//cdn|@import|url\(", text)
    assert "innerHTML" not in files["page.js"] and "eval" not in files["page.js"]
    script = re.search(r"const PHASES = \[(.*)\]", files["page.js"])
    assert script is not None and json.loads(f"[{script[1]}]") == list(document()["phase"])
