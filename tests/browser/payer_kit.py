"""The payer's screen in a real headless Chromium, with the demo's agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser

from agent.config import Config, DisplayConfig, VerificationConfig
from agent.demo.stage import DemoStage, staged
from agent.kits.till.acceptance import Acceptance
from agent.page.display_key import start_url
from agent.resources import data
from tests.browser.kit import Tab, browser

SIZES = ((320, 480), (480, 320), (720, 1280), (1280, 720))


@dataclass
class PayerScreen:
    """The screen's address, the browser, and the agent behind it."""

    stage: DemoStage
    browser: Browser
    url: str

    async def tab(self, size: tuple[int, int] = (720, 1280), *, url: str = "", **more: Any) -> Tab:
        """A tab of this size that collects console errors and warnings."""
        options = {"viewport": {"width": size[0], "height": size[1]}, **more}
        context = await self.browser.new_context(**options)
        tab = Tab(await context.new_page())
        complaints = tab.complaints
        tab.page.on("pageerror", lambda error: complaints.append(str(error)))
        tab.page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )
        await tab.page.goto(url or self.url)
        return tab

    def ask(
        self, enrolled: str, *, ttl_ms: int = 6_000, locale: str | None = None
    ) -> asyncio.Task[Acceptance]:
        """Send a request; the scene stays as it is."""
        photo = data(f"photos/enrolled/{enrolled}.jpg").read_bytes()
        more = {} if locale is None else {"locale": locale}
        return asyncio.create_task(self.stage.till.ask(photo, ttl_ms=ttl_ms, more=more))


async def shows(tab: Tab, kind: str, symbol: str = "") -> None:
    """Wait until the screen has this kind, and this symbol if one is given."""
    more = f"[data-symbol={symbol}]" if symbol else ""
    await tab.page.locator(f"#screen[data-kind={kind}]{more}").wait_for(timeout=60_000)


@asynccontextmanager
async def payer_screen(
    *, locale: str = "en", sound: bool = False, budget_ms: int = 8_000, shop_name: str = "Corner Shop"
) -> AsyncIterator[PayerScreen]:
    """The demo's agent with the screen switched on, on a free port, and a browser."""
    display = DisplayConfig(listen="loopback", shop_name=shop_name, locale=locale, sound=sound)
    display = display.model_copy(update={"port": 0})
    config = Config(profile="demo", display=display, verification=VerificationConfig(budget_ms=budget_ms))
    async with staged(config) as stage, browser() as made:
        yield PayerScreen(stage, made, await asyncio.to_thread(start_url, stage.state_directory))
