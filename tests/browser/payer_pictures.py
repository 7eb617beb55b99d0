"""docs/images/payer-*.png, all states of the payer's screen: ``python -m tests.browser.payer_pictures``.

The screen is the page of the program in a real Chromium; a test of the kit supplies the events. The person is
a photograph in the public domain, the camera is simulated.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.reasons import Decision, Guidance, Reason
from tests.browser.kit import Tab, browser
from tests.browser.payer_kit import States, payer_tab, shows, states
from tests.browser.pictures import IMAGES, small
from tests.page.display_kit import OPTIONS
from tests.page.kit import until

SHAPES = {"portrait": (320, 480), "landscape": (480, 320)}
HINTS = (Guidance.COME_CLOSER, Guidance.BACKLIT, Guidance.TURN_LEFT, Guidance.THANK_YOU)
ENDINGS = (
    (Decision.MATCH, Reason.SAME_PERSON, "recognised"),
    (Decision.UNDECIDED, Reason.NO_FACE, "not_this_time"),
    (Decision.NO_MATCH, Reason.DIFFERENT_PERSON, "another_way"),
)
COLUMNS, GAP_PX, GROUND = 4, 16, 236
SHOP = {"en": "Corner Shop", "zh-CN": "街角小店"}

Pixels = NDArray[np.uint8]


async def take() -> None:
    async with browser() as made:
        for locale, shop in SHOP.items():
            options = replace(OPTIONS, locale=locale, shop_name=shop)
            async with states(options) as page:
                for shape, size in SHAPES.items():
                    tab = await payer_tab(made, page.start_url, size)
                    pictures = await screens(tab, page)
                    small(IMAGES / f"payer-{locale}-{shape}.png", png_of(sheet(pictures)))
                    await tab.page.context.close()
                    await until(lambda page=page: page.display.viewers == 0, 20)  # type: ignore[misc]


async def screens(tab: Tab, page: States) -> list[Pixels]:
    """A screenshot of each state."""
    await shows(tab, "idle")
    pictures = [await screenshot(tab)]
    for hint in HINTS:
        begun = page.begin(f"{hint}-{tab.page.viewport_size}")
        await page.show_face(begun)
        page.hint(begun, hint)
        await shows(tab, "guide", hint)
        await asyncio.sleep(1.5)  # the ring shows some time that has passed
        pictures.append(await screenshot(tab))
    for decision, reason, code in ENDINGS:
        page.end(page.begin(f"{code}-{tab.page.viewport_size}"), decision, reason)
        await shows(tab, "end", code)
        pictures.append(await screenshot(tab))
    return pictures


async def screenshot(tab: Tab) -> Pixels:
    picture = cv2.imdecode(np.frombuffer(await tab.page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def sheet(pictures: list[Pixels]) -> Pixels:
    """The pictures in rows, on a light ground."""
    edge = GAP_PX // 2
    framed = [np.pad(each, ((edge, edge), (edge, edge), (0, 0)), constant_values=GROUND) for each in pictures]
    rows = [np.hstack(framed[first : first + COLUMNS]) for first in range(0, len(framed), COLUMNS)]
    return np.asarray(np.vstack(rows), np.uint8)


def png_of(picture: Pixels) -> bytes:
    done, raw = cv2.imencode(".png", picture)
    assert done
    return raw.tobytes()


if __name__ == "__main__":
    asyncio.run(take())
