"""docs/images/page-*.png, screenshots of the program: ``python -m tests.browser.pictures``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import numpy as np

from agent.demo.demo_system import VISITS
from tests.browser.kit import DESKTOP, PHONE, desk

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
MAX_BYTES = 300_000


async def take() -> None:
    async with desk() as (stage, browser):
        for visit in VISITS[:4]:
            await stage.play(visit)
        await stage.show_scene("one_obama_portrait")
        for name, size, scheme, locale in (
            ("desktop", {**DESKTOP, "height": 1360}, "light", "en-US"),
            ("phone", {**PHONE, "height": 1750}, "dark", "zh-CN"),
        ):
            tab = await browser.tab(viewport=size, color_scheme=scheme, locale=locale)
            await tab.page.click("#look")
            await tab.page.locator("#measures b").first.wait_for()
            await asyncio.sleep(4)
            small(IMAGES / f"page-{name}.png", await tab.page.screenshot())
            await tab.page.context.close()
        await stage.service.stop()  # a cause, and what follows from it
        tab = await browser.tab()
        await tab.page.click("#examine")
        await tab.shows("#summary", "Faults")
        small(IMAGES / "page-doctor.png", await tab.page.locator("#doctor").screenshot())


def small(path: Path, png: bytes) -> None:
    """With 256 colours: a photograph of the real page, at a third of the bytes."""
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    reduced = (picture // 8 * 8 + 4).astype(np.uint8)
    done, raw = cv2.imencode(".png", reduced, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done and raw.size <= MAX_BYTES, raw.size
    path.write_bytes(raw.tobytes())


if __name__ == "__main__":
    asyncio.run(take())
