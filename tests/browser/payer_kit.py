"""The payer's screen in a real headless Chromium, with the demo's agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Browser

from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import load_scene
from agent.config import Config, DisplayConfig, VerificationConfig
from agent.core.model import Request
from agent.core.policy import PolicyLimits
from agent.core.reasons import Guidance
from agent.demo.demo_system import DemoSystem, running_demo
from agent.kits.till.acceptance import Acceptance
from agent.live_view.payer_picture import payer_picture
from agent.page.display_app import DisplayOptions
from agent.resources import data
from tests.browser.kit import Tab, browser
from tests.page.display_kit import OPTIONS, OpenDisplay, frame, opened_display, start_url

SIZES = ((320, 480), (480, 320), (720, 1280), (1280, 720))


@dataclass
class PayerScreen:
    """The screen's address, the browser, and the agent behind it."""

    stage: DemoSystem
    browser: Browser
    url: str

    async def tab(self, size: tuple[int, int] = (720, 1280)) -> Tab:
        return await payer_tab(self.browser, self.url, size)

    def ask(
        self, enrolled: str, *, ttl_ms: int = 6_000, locale: str | None = None
    ) -> asyncio.Task[Acceptance]:
        """Send a request; the scene stays as it is."""
        photo = data(f"photos/enrolled/{enrolled}.jpg").read_bytes()
        more = {} if locale is None else {"locale": locale}
        return asyncio.create_task(self.stage.till.ask(photo, ttl_ms=ttl_ms, more=more))


@dataclass
class States(OpenDisplay):
    """The screen without an agent: a test shows any state, with a photograph of the package."""

    async def show_face(self, begun: Request) -> None:
        """Offer frames until one is drawn."""
        self.hint(begun, Guidance.LOOK_HERE)
        async with asyncio.timeout(60):
            while self.display._picture is None:
                self.display.offer(frame(portrait()))
                await asyncio.sleep(0.02)


@cache
def portrait() -> NDArray[np.uint8]:
    """(720, 1280, 3): a payer in front of the camera."""
    return SceneRenderer(load_scene("one_obama_portrait"), 1280, 720, 1, SpriteCache()).picture(0)


@asynccontextmanager
async def states(options: DisplayOptions = OPTIONS) -> AsyncIterator[States]:
    async with opened_display(lambda each: payer_picture(each, PolicyLimits()), options) as page:
        yield States(page.display, page.listener, page.directory)


async def payer_tab(made: Browser, url: str, size: tuple[int, int], **more: Any) -> Tab:
    """A tab of this size that collects console errors and warnings."""
    options = {"viewport": {"width": size[0], "height": size[1]}, **more}
    context = await made.new_context(**options)
    tab = Tab(await context.new_page())
    complaints = tab.complaints
    tab.page.on("pageerror", lambda error: complaints.append(str(error)))
    tab.page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None,
    )
    await tab.page.goto(url)
    return tab


async def shows(tab: Tab, kind: str, symbol: str = "") -> None:
    """Wait until the screen has this kind, and this symbol if one is given."""
    more = f"[data-symbol={symbol}]" if symbol else ""
    await tab.page.locator(f"#screen[data-kind={kind}]{more}").wait_for(timeout=60_000)


@asynccontextmanager
async def payer_screen(
    *, locale: str = "en", sound: bool = False, shop_name: str = "Corner Shop"
) -> AsyncIterator[PayerScreen]:
    """The demo's agent with the screen switched on, on a free port, and a browser."""
    display = DisplayConfig(listen="loopback", shop_name=shop_name, locale=locale, sound=sound)
    display = display.model_copy(update={"port": 0})
    limits = VerificationConfig(budget_ms=60_000, ask_timeout_ms=20_000)  # for a busy machine
    config = Config(profile="demo", display=display, verification=limits)
    async with running_demo(config) as stage, browser() as made:
        yield PayerScreen(stage, made, await asyncio.to_thread(start_url, stage.state_directory))
