"""The CPU of the page's live preview beside capture, and the pictures per second at its viewer.

The agent's parts run in a separate process; the viewer is another process, over real HTTP.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from functools import partial

from agent.config import CameraConfig, PolicyConfig, VisionConfig
from agent.core.model import Assurance
from agent.core.policy import PolicyLimits
from agent.core.verification_types import Limits
from agent.health.frame_meter import FrameMeter
from agent.live_view.annotate import notice_picture
from agent.live_view.frame_tap import FrameTap
from agent.live_view.live_view import LivePicture, LiveView
from agent.page.app import Sources, application
from agent.page.doctor_job import DoctorJob
from agent.page.listener import Listener
from agent.page.login import SessionStore
from agent.page.preview import Picture, Preview
from agent.root.cameras import make_frame_check
from agent.root.wiring import BootClock
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.vision.detector_check import check_mounting
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.bench.cost import cpu_s
from tests.bench.detector import analyze_standing, make
from tests.bench.frames import EMPTY_SCENE, LoopCamera, drawn, frames_alone
from tests.bench.report import Section, percentile
from tests.fakes import MemoryClaimStore, QueueTill, ScriptedCompare

FPS = 10.5  # more than the goal of 10
SCENES = (EMPTY_SCENE, "one_obama_portrait", "two_people")
LIMITS = PolicyLimits(**PolicyConfig().model_dump())
TOKEN = b"a-token-of-the-benchmark"
REQUEST = b"GET /preview.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n"


async def measure_with_viewer(camera: LoopCamera, seconds: float) -> tuple[float, float]:
    """(CPU seconds, pictures per second) of a terminal with one viewer and no request."""
    analyzer, frame_tap = LocalFaceAnalyzer(VisionConfig(), LIMITS), FrameTap(lambda: False)
    check_frame = make_frame_check(CameraConfig(), FrameMeter(), frame_tap)
    ports = Ports(
        BootClock(), camera, analyzer, ScriptedCompare(), QueueTill(), MemoryClaimStore(), check_frame
    )
    mounting = partial(check_mounting, VisionConfig())
    terminal, stop = Terminal(ports, Settings("e", Limits(), 250, Assurance())), asyncio.Event()
    live_view = LiveView(frame_tap, analyzer, terminal.worker, lambda: LIMITS, mounting)
    live = LivePicture(analyzer, lambda: LIMITS)
    opened = asyncio.Event()

    async def on_change(_is_open: bool) -> None:
        opened.set()

    async def picture() -> Picture:
        return Picture(*await live_view.on_next_frame(live.draw))

    preview = Preview(picture, notice_picture, on_change)
    sessions = SessionStore(TOKEN, secure=False, now_s=time.monotonic)
    listener = Listener(application(Sources(dict, DoctorJob(list), preview, lambda _: b""), sessions))
    await listener.open("127.0.0.1", 0)
    task = asyncio.create_task(terminal.serve(stop))
    command = [sys.executable, "-m", "tests.bench.preview", "view", str(listener.port), str(seconds + 1)]
    viewer = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    await asyncio.wait_for(opened.wait(), 20)
    await asyncio.sleep(0.5)
    start_s = cpu_s()
    await asyncio.sleep(seconds)
    spent_s = cpu_s() - start_s
    output, _ = await viewer.communicate()
    await listener.close()
    await preview.close()
    stop.set()
    await task
    return spent_s, float(output)


def view(port: int, seconds: float) -> float:
    """Received pictures per second, from the second picture on."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST)
        until_s, rest = time.monotonic() + seconds, b""
        while time.monotonic() < until_s:
            rest += connection.recv(65_536)
            *whole, rest = rest.split(b"--picture\r\n")
            times += [time.monotonic()] * len(whole)
    return (len(times) - 2) / (times[-1] - times[1])


def one(scene: str, seconds: float) -> tuple[float, float, float]:
    """(% of a core for frame delivery alone, % with a viewer, pictures per second); a separate process."""
    camera = LoopCamera.of(drawn(scene, count=20), FPS)
    camera.start()
    alone = asyncio.run(frames_alone(camera, int(seconds * FPS)))
    spent_s, fps = asyncio.run(measure_with_viewer(camera, seconds))
    return 100 * alone / seconds, 100 * spent_s / seconds, fps


def run(*, quick: bool) -> Section:
    section = Section(f"live preview: one viewer, camera {FPS:g} fps, 1280x720 (percent of one core)")
    rows = []
    for scene in SCENES:
        command = [sys.executable, "-m", "tests.bench.preview", "one", scene, "2" if quick else "10"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        alone, whole, fps = json.loads(output)
        rows.append((whole - alone, fps))
        section.rows.append(
            {
                "scene": scene,
                "frame delivery": round(alone, 2),
                "terminal with a viewer": round(whole, 2),
                "beside capture": round(whole - alone, 2),
                "pictures per second": round(fps, 1),
            }
        )
    followed = analyze_standing(make(), drawn(SCENES[1], count=20), 40 if quick else 400)[1]
    worst_ms = max(1e3 * cost / 100 / fps for cost, fps in rows)
    section.measure("preview", round(worst_ms, 2), round(percentile(followed, 0.5), 2))
    section.measure("preview_rate", round(min(fps for _, fps in rows), 1), FPS)
    section.notes.append("getrusage of the whole process; viewer in another process, over loopback HTTP")
    return section


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["view", port, seconds]:
            print(view(int(port), float(seconds)))
        case ["one", scene, seconds]:
            print(json.dumps(one(scene, float(seconds))))
