"""A real headless Chromium with a real agent: an error or warning on its console is a failure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from agent.config import Config, PageConfig, VerificationConfig
from agent.control.page_link import request_link
from agent.control.server import path_for
from agent.demo.demo_system import DemoSystem, running_demo

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TOKEN = "a-token-of-the-browser-test"
_QUIET = (
    "--headless",
    "--no-sandbox",  # as root it does not start with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
)


def needs_a_browser() -> None:
    """Skip without Chromium; fail as root, because ``make chromium`` installs Chromium as root."""
    if CHROMIUM.exists():
        return
    if os.geteuid() == 0:
        pytest.fail("no /usr/bin/chromium: make chromium installs it")
    pytest.skip("needs Chromium: sudo apt-get install chromium fonts-wqy-zenhei")


@dataclass
class Tab:
    """One tab, and the errors and warnings on its console."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def shows(self, selector: str, text: str) -> None:
        """Wait until an element shows this text."""
        await self.page.locator(selector, has_text=text).first.wait_for(timeout=60_000)


@dataclass
class Desk:
    """A browser, the page's address, and the agent's socket, which issues links."""

    browser: Browser
    url: str
    socket: Path

    async def stranger(self, **more: Any) -> BrowserContext:
        return await self.browser.new_context(**{"viewport": DESKTOP, "locale": "en-US", **more})

    async def link(self) -> str:
        return await asyncio.to_thread(request_link, self.socket)

    async def context(self, **more: Any) -> BrowserContext:
        """A browser context that is logged in by a link."""
        context = await self.stranger(**more)
        page = await context.new_page()
        await page.goto(await self.link())
        await page.wait_for_url(self.url + "/")
        await page.close()
        return context

    async def tab(self, context: BrowserContext | None = None, path: str = "/", **more: Any) -> Tab:
        """A tab that collects console errors and warnings: refused resources, CSP violations."""
        tab = Tab(await (context or await self.context(**more)).new_page())
        complaints = tab.complaints

        tab.page.on("pageerror", lambda error: complaints.append(str(error)))
        tab.page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )
        await tab.page.goto(path if path.startswith(self.url) else self.url + path)
        return tab


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def desk(
    token_file: Path | None = None, budget_ms: int = 8_000, ask_timeout_ms: int = 2_500
) -> AsyncIterator[tuple[DemoSystem, Desk]]:
    """The demo's agent with the page switched on, and a browser.

    ``budget_ms``: longest verification. ``ask_timeout_ms``: longest API call.
    """
    page = PageConfig(listen="loopback", preview=True, token_file=token_file)
    page = page.model_copy(update={"port": 0})  # the kernel selects a free port: no other run has it
    limits = VerificationConfig(budget_ms=budget_ms, ask_timeout_ms=ask_timeout_ms)
    config = Config(profile="demo", page=page, verification=limits)
    async with running_demo(config) as stage, browser() as made:
        socket = path_for(stage.state_directory)
        link = await asyncio.to_thread(request_link, socket)
        yield stage, Desk(made, link.partition("/login")[0], socket)
