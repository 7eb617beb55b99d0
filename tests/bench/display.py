"""The screen for the payer: its CPU beside the verification, and the time from a cause to the hint on it.

*cause → hint on the screen*: capture of the first frame of another scene → the hint is drawn by a headless
Chromium (or received by an HTTP client, without Chromium). The scenes change slower than the least time that
a hint is shown. Real agent, broker and detector; the camera is simulated.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from playwright.async_api import Error as BrowserError
from playwright.async_api import Page

from agent.config import Config, DisplayConfig
from agent.control.server import path_for, request_status
from agent.core.model import CameraHealth, Frame
from agent.kits.till.client import TillClient
from agent.messages.topics import Topics
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.root.wiring import BootClock
from agent.terminal.parts import Ports
from tests.bench.cost import cpu_s
from tests.bench.detector import analyze_standing, make
from tests.bench.frames import EMPTY_SCENE, Pixels, drawn
from tests.bench.latency import FPS, LatencySetup
from tests.bench.report import Section, percentile, spread
from tests.browser.kit import CHROMIUM, browser
from tests.page.display_kit import start_url

TTL_MS = 8_000
WINDOW_S = 6.0
CHANGE_S, CHANGES = 1.2, 4  # a hint is shown for at least 0.6 s; per verification
HINTS = {"two_people": "one_person", EMPTY_SCENE: "look_here"}
# resolves with the wall clock when the screen has drawn another hint
DRAWN = """(symbol) => new Promise((resolve) => {
  const main = document.getElementById("screen");
  const check = () => main.dataset.symbol === symbol && (watch.disconnect(), requestAnimationFrame(
    () => setTimeout(() => resolve(performance.timeOrigin + performance.now()), 0)));
  const watch = new MutationObserver(check);
  watch.observe(main, { attributes: true });
  check();
})"""


class DisplaySetup(LatencySetup):
    """A real agent with the payer's screen; records the capture of the first frame of a scene."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 0.0, FPS)
        self.scenes: dict[str, list[Pixels]] = {scene: drawn(scene, count=10) for scene in HINTS}
        self.first_unix_ms: float | None = None

    def config(self) -> Config:
        display = DisplayConfig(listen="loopback").model_copy(update={"port": 0})
        return super().config().model_copy(update={"display": display})

    def adapt(self, ports: Ports) -> Ports:
        check = ports.check_frame

        def check_frame(frame: Frame) -> CameraHealth:
            if self.first_unix_ms is None:
                age_ms = BootClock().now_ms() - frame.captured_ms
                self.first_unix_ms = 1e3 * time.time() - age_ms
            return check(frame)

        return replace(ports, check_frame=check_frame)

    def change(self, scene: str) -> None:
        self.camera.show(self.scenes[scene])
        self.first_unix_ms = None


@dataclass
class Running:
    """The agent, its till, and the address of the screen."""

    setup: DisplaySetup
    till: TillClient
    url: str

    def ask(self) -> asyncio.Task[object]:
        return asyncio.create_task(self.till.ask(self.setup.enrolled, ttl_ms=TTL_MS))

    async def has_viewers(self, count: int) -> None:
        socket = path_for(self.setup.config().storage.directory)
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(request_status, socket))["display_viewers"] != count:  # noqa: ASYNC110 - another process connects
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    with tempfile.TemporaryDirectory() as name:
        setup = DisplaySetup(Path(name))
        await setup.api.start()
        setup.broker.start()
        ready: asyncio.Queue[AgentHandle] = asyncio.Queue()
        config, stop = setup.config(), asyncio.Event()
        overrides = Overrides(setup.camera, setup.adapt, ready.put_nowait)
        agent = asyncio.create_task(serve(config, stop, overrides))
        key = (await ready.get()).public_key
        till = TillClient(config.mqtt, Topics("site", "terminal"), "till-1", pinned=key)
        await till.start()
        try:
            yield Running(setup, till, start_url(config.storage.directory))
        finally:
            await till.stop()
            stop.set()
            await agent
            await setup.api.stop()
            setup.broker.stop()


async def window(agent: Running, *, viewer: bool) -> tuple[float, float]:
    """(CPU seconds per second, pictures per second) during one verification with two people."""
    agent.setup.change("two_people")
    process = None
    if viewer:
        command = [sys.executable, "-m", "tests.bench.display_viewer", agent.url, str(WINDOW_S + 1)]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        await agent.has_viewers(1)
    asked = agent.ask()
    await asyncio.sleep(0.5)
    start_s, began_s = cpu_s(), time.monotonic()
    await asyncio.sleep(WINDOW_S)
    share = (cpu_s() - start_s) / (time.monotonic() - began_s)
    output = b"0" if process is None else (await process.communicate())[0]
    await asked
    await agent.has_viewers(0)
    return share, float(output)


async def hint_times_ms(agent: Running, page: Page, count: int) -> tuple[list[float], int]:
    """(from the capture of the first frame of a scene to its hint on the screen, number of missed changes).

    A change is missed when the verification ends before the hint.
    """
    found, missed = list[float](), 0
    while len(found) < count and missed < count:
        agent.setup.change(EMPTY_SCENE)
        asked = agent.ask()
        await page.locator("#screen[data-kind=guide]").wait_for(timeout=1e3 * TTL_MS)
        for scene in islice(cycle(HINTS), CHANGES):
            await asyncio.sleep(CHANGE_S)
            agent.setup.change(scene)
            try:
                async with asyncio.timeout(CHANGE_S):
                    shown_ms = float(await page.evaluate(DRAWN, HINTS[scene]))
            except TimeoutError:
                missed += 1
                break
            assert agent.setup.first_unix_ms is not None
            found.append(shown_ms - agent.setup.first_unix_ms)
        await asked
    return found, missed


async def _measure(*, quick: bool) -> tuple[list[tuple[float, float, float]], tuple[list[float], int]]:
    """((share without a viewer, share with one, pictures per second) of each window, ``hint_times_ms``)."""
    shares, times_ms = list[tuple[float, float, float]](), (list[float](), 0)
    async with running() as agent:
        await window(agent, viewer=False)  # not measured: warm-up
        for _ in range(1 if quick else 4):
            without, _ = await window(agent, viewer=False)
            share, fps = await window(agent, viewer=True)
            shares.append((without, share, fps))
        if CHROMIUM.exists():
            async with browser() as made:
                page = await made.new_page(viewport={"width": 480, "height": 320})
                await page.goto(agent.url)
                await page.locator("#screen[data-kind=idle]").wait_for()
                times_ms = await hint_times_ms(agent, page, 3 if quick else 40)
    return shares, times_ms


def run(*, quick: bool) -> Section:
    section = Section(f"screen for the payer: one viewer, camera {FPS} fps, 1280x720")
    try:
        shares, (times_ms, missed) = asyncio.run(_measure(quick=quick))
    except BrowserError as error:
        section.notes.append(f"not measured: {str(error).splitlines()[0]}")
        return section
    beside = [100 * (share - without) for without, share, _ in shares]
    fps = percentile([each[2] for each in shares], 0.5)
    section.rows.append(
        {
            "what": "during a verification, % of a core",
            "without a viewer": round(100 * percentile([each[0] for each in shares], 0.5), 2),
            "with a viewer": round(100 * percentile([each[1] for each in shares], 0.5), 2),
            "beside": round(percentile(beside, 0.5), 2),
            "pictures per second": round(fps, 1),
        }
    )
    followed = analyze_standing(make(), drawn("one_obama_portrait", count=20), 40 if quick else 400)[1]
    cost_ms = 10 * percentile(beside, 0.5) / fps if fps else math.nan
    section.measure("display", round(cost_ms, 2), round(percentile(followed, 0.5), 2))
    if times_ms:
        section.rows.append(
            {"what": "cause -> hint on the screen (ms)", **spread(times_ms), "missed": missed}
        )
        section.measure("display_hint", round(percentile(times_ms, 0.99)), 1e3 / FPS)
    else:
        section.notes.append("cause -> hint is not measured: no Chromium")
    section.notes.append("getrusage of agent and till; the viewer is another process, over loopback HTTP")
    return section
