"""What the page's live preview costs beside capture, and how many pictures a second reach its viewer.

The agent's parts run in a process of their own; the viewer is another one, over real HTTP.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time

from agent.config import PolicyConfig, VisionConfig
from agent.core.model import Assurance
from agent.core.policy import PolicyLimits
from agent.core.steps import Limits
from agent.health.frame_meter import FrameMeter
from agent.live_view.annotate import notice
from agent.live_view.frame_tap import FrameTap
from agent.live_view.live_view import LivePicture, LiveView
from agent.page.app import Sources, application
from agent.page.doctor_job import DoctorJob
from agent.page.listener import Listener
from agent.page.login import SessionStore
from agent.page.preview import Preview, Seeing
from agent.root.wiring import BootClock, make_glance
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.bench.cost import cpu_s
from tests.bench.frames import LoopCamera, drawn, frames_alone
from tests.bench.report import Section
from tests.fakes import MemoryLedger, QueueTill, ScriptedCompare

FPS = 10.5  # a camera of exactly 10 could not show that 10 are reached
SCENES = ("nobody", "one_obama_portrait", "two_people")
LIMITS = PolicyLimits(**PolicyConfig().model_dump())
TOKEN = b"a-token-of-the-benchmark"
ASK = b"GET /preview.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + TOKEN + b"\r\n\r\n"


async def watched(camera: LoopCamera, seconds: float) -> tuple[float, float]:
    """(CPU seconds, pictures per second) of a terminal that nobody asks and one viewer watches."""
    eye, finder = LocalFaceAnalyzer(VisionConfig(), LIMITS), FrameTap(lambda: False)
    glance = make_glance(FrameMeter(), finder)
    ports = Ports(BootClock(), camera, eye, ScriptedCompare(), QueueTill(), MemoryLedger(), glance)
    terminal, stop = Terminal(ports, Settings("e", Limits(), 250, Assurance())), asyncio.Event()
    technician = LiveView(finder, eye, terminal.worker, lambda: LIMITS)
    live = LivePicture(eye, lambda: LIMITS)
    opened = asyncio.Event()

    async def tell(_is_open: bool) -> None:
        opened.set()

    preview = Preview(Seeing(lambda: technician.see(live.draw), notice, tell))
    keys = SessionStore(TOKEN, secure=False, now_s=time.monotonic)
    listener = Listener(application(Sources(dict, DoctorJob(list), preview), keys))
    await listener.open("127.0.0.1", 0)
    serving = asyncio.create_task(terminal.serve(stop))
    command = [sys.executable, "-m", "tests.bench.preview", "view", str(listener.port), str(seconds + 1)]
    viewer = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    await asyncio.wait_for(opened.wait(), 20)
    await asyncio.sleep(0.5)
    began = cpu_s()
    await asyncio.sleep(seconds)
    spent = cpu_s() - began
    said, _ = await viewer.communicate()
    await listener.close()
    await preview.close()
    stop.set()
    await serving
    return spent, float(said)


def view(port: int, seconds: float) -> float:
    """Pictures per second that reach a viewer, from the second picture on."""
    moments = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(ASK)
        until_s, rest = time.monotonic() + seconds, b""
        while time.monotonic() < until_s:
            rest += connection.recv(65_536)
            *whole, rest = rest.split(b"--picture\r\n")
            moments += [time.monotonic()] * len(whole)
    return (len(moments) - 2) / (moments[-1] - moments[1])


def one(scene: str, seconds: float) -> tuple[float, float, float]:
    """In a process of its own: percent of a core for the frames alone, with a viewer; pictures per second."""
    camera = LoopCamera.of(drawn(scene, count=20), FPS)
    camera.start()
    alone = asyncio.run(frames_alone(camera, int(seconds * FPS)))
    spent, fps = asyncio.run(watched(camera, seconds))
    return 100 * alone / seconds, 100 * spent / seconds, fps


def run(*, quick: bool) -> Section:
    section = Section(f"live preview: one viewer, camera {FPS:g} fps, 1280x720 (percent of one core)")
    rows = []
    for scene in SCENES:
        command = [sys.executable, "-m", "tests.bench.preview", "one", scene, "2" if quick else "10"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        alone, whole, fps = json.loads(said)
        rows.append((whole - alone, fps))
        section.rows.append(
            {
                "scene": scene,
                "handing out frames": round(alone, 2),
                "watched terminal": round(whole, 2),
                "beside capture": round(whole - alone, 2),
                "pictures per second": round(fps, 1),
            }
        )
    section.goal(
        "live preview beside capture, worst scene (% of a core)",
        round(max(cost for cost, _ in rows), 2),
        at_most=5.0,
    )
    section.goal(
        "live preview, pictures per second, worst scene", round(min(fps for _, fps in rows), 1), at_least=10.0
    )
    section.notes.append("getrusage of the whole process; viewer in another process, over loopback HTTP")
    return section


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["view", port, seconds]:
            print(view(int(port), float(seconds)))
        case ["one", scene, seconds]:
            print(json.dumps(one(scene, float(seconds))))
