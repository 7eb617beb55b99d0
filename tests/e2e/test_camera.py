"""The agent as a process with an absent camera or a hanging driver."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.agents import ENROLLED, Agent, Place, till_of

# the agent with a driver that hangs; the camera counts as served after one second in place of a minute
HANGS = """
import sys, threading
from agent.camera import recovery
from agent.camera.simulated.cameras import SceneCamera
from agent.camera.simulated.scene import load_scene
from agent.cli import main
from agent.root import cameras

class Hanging(SceneCamera):
    def grab(self):
        if self._seq == 20:
            threading.Event().wait()
        return super().grab()

recovery._SERVED_MS = 1_000
cameras._backend = lambda config, clock: Hanging(config, clock, load_scene("empty"))
sys.argv = ["facepay", "run", "--config", sys.argv[1]]
main()
"""


async def test_run_without_camera_answers_with_reason_and_feeds_the_watchdog(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.config("/dev/v4l/by-id/usb-no-such-camera-video-index0")
    path.write_text(path.read_text().replace("[camera]", '[camera]\nkind = "v4l2"'))
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    agent = Agent(path)
    try:
        await agent.notified("READY=1")
        watchdog_signals = asyncio.Queue[None]()
        listening = asyncio.create_task(listen(agent, watchdog_signals))
        async with till_of(place) as (till, _):
            await till.online(timeout_s=60)
            verdict = await till.ask(ENROLLED, ttl_ms=6_000)
            assert (verdict.decision, verdict.reason) == ("undecided", "camera_unavailable")
            assert (await till.online())["conditions"] == ["camera_absent"]
        while not watchdog_signals.empty():
            watchdog_signals.get_nowait()
        async with asyncio.timeout(60):
            for _ in range(5):  # the notifications continue
                await watchdog_signals.get()
        listening.cancel()
        assert agent.process.poll() is None
    finally:
        agent.close()
    assert "No such file or directory" in (place.folder / "agent.log").read_text()


async def test_hanging_driver_ends_the_process_with_code_74_after_a_result(
    place: Place,
) -> None:
    config = place.config("empty")
    agent = started(config)
    try:
        async with till_of(place, pinned=False) as (till, _):
            await till.online(timeout_s=60)
            verdict = await till.ask(ENROLLED, ttl_ms=20_000)
            assert (verdict.decision, verdict.reason) == ("undecided", "camera_unavailable")
        assert await asyncio.to_thread(agent.wait, 60) == 74
    finally:
        agent.kill()
        agent.wait()
    log = Path(place.folder / "hung.log").read_text()
    assert "camera_stalled: the camera cannot recover in this process: grab does not return" in log
    assert "fix: " in log and "处理: " in log and "Traceback" not in log


async def listen(agent: Agent, watchdog_signals: asyncio.Queue[None]) -> None:
    while True:
        await agent.notified("WATCHDOG=1")
        watchdog_signals.put_nowait(None)


def started(config: Path) -> subprocess.Popen[bytes]:
    with (config.parent / "hung.log").open("wb") as output:
        return subprocess.Popen([sys.executable, "-c", HANGS, str(config)], stderr=output)
