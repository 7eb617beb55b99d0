"""The CPU of an idle terminal (no request) at 10 fps, minus the CPU of the frame delivery."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys

from agent.config import PolicyConfig, VisionConfig
from agent.core.model import Assurance
from agent.core.policy import PolicyLimits
from agent.core.verification_types import Limits
from agent.root.wiring import BootClock
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.luma import BrightnessCheck
from tests.bench.cost import cpu_s
from tests.bench.frames import EMPTY_SCENE, LoopCamera, drawn, frames_alone
from tests.bench.report import Section
from tests.fakes import MemoryClaimStore, QueueTill, ScriptedCompare

FPS = 10.0
REPETITIONS = 3


async def idle_terminal(camera: LoopCamera, seconds: float) -> float:
    analyzer = LocalFaceAnalyzer(VisionConfig(), PolicyLimits(**PolicyConfig().model_dump()))
    ports = Ports(
        BootClock(),
        camera,
        analyzer,
        ScriptedCompare(),
        QueueTill(),
        MemoryClaimStore(),
        BrightnessCheck().check,
    )
    terminal, stop = Terminal(ports, Settings("e", Limits(), 250, Assurance())), asyncio.Event()
    task = asyncio.create_task(terminal.serve(stop))
    await asyncio.sleep(0.5)
    start_s = cpu_s()
    await asyncio.sleep(seconds)
    spent_s = cpu_s() - start_s
    stop.set()
    await task
    return spent_s


def one(seconds: float) -> tuple[float, float]:
    """(frame delivery alone, idle terminal) in percent of one core; runs in a separate process."""
    camera = LoopCamera.of(drawn(EMPTY_SCENE, count=20), FPS)
    camera.start()
    alone = asyncio.run(frames_alone(camera, int(seconds * FPS)))
    whole = asyncio.run(idle_terminal(camera, seconds))
    return 100 * alone / seconds, 100 * whole / seconds


def run(*, quick: bool) -> Section:
    section = Section("idle: no request, 10 fps, 1280x720 (percent of one core)")
    shares = []
    for repetition in range(1 if quick else REPETITIONS):
        command = [sys.executable, "-m", "tests.bench.idle", "1" if quick else "8"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        alone, whole = (float(text) for text in output)
        section.rows.append(
            {
                "run": repetition + 1,
                "frame delivery": round(alone, 2),
                "idle terminal": round(whole, 2),
                "beside capture": round(whole - alone, 2),
            }
        )
        shares.append((whole, alone))
    section.measure("idle", *(round(statistics.median(each), 2) for each in zip(*shares, strict=True)))
    section.notes.append("getrusage of the whole process; the camera is a timer that delivers drawn frames")
    return section


if __name__ == "__main__":
    print(*one(float(sys.argv[1])))
