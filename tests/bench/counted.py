"""The processes whose instructions are counted. Started by tests/bench/counts.py under callgrind.

``python -m tests.bench.counted start CONFIG``: the agent's command until READY.
``python -m tests.bench.counted work FOLDER PORT API_URL``: analyses of prepared frames, then an agent that
gets frames and requests. A mark ends a segment; LABELS (environment) names the file of the labels.

The clock and the camera are simulated: a frame comes when it is needed, and its time is a step of 100 ms. So
the same work is done at every speed of the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # an import at run time would be counted
    from agent.core.model import Comparison, Frame
    from agent.core.ports import Compare, StoredResult, Till, TillEvent
    from agent.terminal.parts import Ports

STEP_MS = 100
REQUESTS = 2
PICTURES = 5
IDLE_FRAMES = 20
_IDLE_FROM = 10

_labels: list[str] = []


def mark(label: str = "") -> None:
    """End a segment of the counts. callgrind writes the counts when the process calls getppid."""
    _labels.append(label)
    Path(os.environ["LABELS"]).write_text(json.dumps(_labels))
    os.getppid()


def end() -> None:
    """End at once: the end of the interpreter is no part of a count."""
    os._exit(0)


def start(config: str) -> None:
    """``facepay run`` until the first message to the supervisor, which is READY."""
    import runpy

    def on_event(name: str, _arguments: object) -> None:
        if name == "socket.sendmsg":
            mark("start to READY")
            end()

    sys.addaudithook(on_event)
    sys.argv = ["facepay", "run", "--config", config]
    runpy.run_module("agent.cli", run_name="__main__", alter_sys=True)


def imports(listed: str) -> None:
    """The libraries of the agent, imported bare."""
    from tests.bench.import_bare import import_all

    import_all(listed)
    mark("imports")
    end()


def looks(folder: Path) -> None:
    """Segments of one analysis each: bare, whole, followed, portrait; and of one preview picture."""
    import numpy as np

    from agent.live_view.live_view import LivePicture
    from tests.bench.detector import LIMITS, analyze_marked, bare_yunet, make
    from tests.bench.frames import frame

    pictures = list(np.load(folder / "landscape.npy"))
    bare = bare_yunet(pictures)
    bare(0)
    mark()
    for number in range(PICTURES):
        bare(number)
        mark("bare look")
    analyze_marked(make(), pictures, lambda kind: mark(kind and f"{kind} look"))
    portrait = list(np.load(folder / "portrait.npy"))
    analyze_marked(make(), portrait, lambda kind: mark(kind and f"portrait {kind} look"))
    live = LivePicture(make(), lambda: LIMITS)
    for number, picture in enumerate(pictures):
        live.draw(frame(picture, number + 1, STEP_MS * number))
        mark("preview" if number else "")
    del pictures, portrait


class StepClock:
    """Time that moves with the frames only."""

    at_ms = 1_000_000

    def now_ms(self) -> int:
        return self.at_ms

    def unix_ms(self) -> int:
        return 1_800_000_000_000 + self.at_ms


class GatedCamera:
    """Delivers a frame at once while ``is_open`` holds: idle frames first, then frames of a request."""

    def __init__(self, clock: StepClock, pictures: list[Any]) -> None:
        self._clock, self._pictures = clock, itertools.cycle(pictures)
        self._seq = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.idle_done = asyncio.Event()

    def start(self) -> None: ...

    def stop(self) -> None: ...

    async def next_frame(self, after_seq: int) -> Frame:
        from tests.bench.frames import frame

        await asyncio.sleep(0)
        await self.is_open.wait()
        self._seq = max(self._seq, after_seq) + 1
        if self._seq == _IDLE_FROM:
            mark()
        if self._seq == _IDLE_FROM + IDLE_FRAMES:
            mark("idle frames")
            self.is_open.clear()
            self.idle_done.set()
            await self.is_open.wait()
        self._clock.at_ms += STEP_MS
        return frame(next(self._pictures), self._seq, self._clock.at_ms)


class GatedTill:
    """Opens the camera for a request, and ends a segment when the result of the request is acknowledged."""

    def __init__(self, till: Till, camera: GatedCamera) -> None:
        self._till, self._camera = till, camera
        self.receive = till.receive
        self._delivered = 0

    async def publish(self, event: TillEvent) -> None:
        await self._till.publish(event)
        if type(event).__name__ == "AcceptedEvent":
            self._camera.is_open.set()

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        self._camera.is_open.clear()
        await self._till.deliver(stored, again=again)
        self._delivered += 1
        mark("request" if self._delivered > 1 else "")
        if self._delivered == REQUESTS:
            end()


class GatedCompare:
    """No frame comes during an API call."""

    def __init__(self, compare: Compare, camera: GatedCamera) -> None:
        self._compare, self._camera = compare, camera
        self.prepare, self.close = compare.prepare, compare.close

    async def call(self, *arguments: Any) -> Comparison:
        self._camera.is_open.clear()
        answer = await self._compare.call(*arguments)
        self._camera.is_open.set()
        return answer


async def agent(folder: Path, port: int, url: str) -> None:
    """The agent with a real broker, API and disk; ``end`` ends the process after the last request."""
    from dataclasses import replace

    import numpy as np

    from agent.root import daemon, self_checks
    from tests.bench.visiting_agent import config

    clock = StepClock()
    vars(daemon)["BootClock"] = lambda: clock
    vars(self_checks)["_MEASURED_AFTER_S"] = 1e6  # the measurement of the machine is no part of a request
    camera = GatedCamera(clock, list(np.load(folder / "landscape.npy")))

    def adapt(ports: Ports) -> Ports:
        till, compare = GatedTill(ports.till, camera), GatedCompare(ports.compare, camera)
        return replace(ports, till=till, compare=compare)

    values = config(folder, port, url)
    long_limits = values.verification.model_copy(update={"ask_timeout_ms": 60_000, "budget_ms": 60_000})
    values = values.model_copy(update={"verification": long_limits})  # the API call is in real time
    serving = asyncio.create_task(daemon.serve(values, asyncio.Event(), daemon.Overrides(camera, adapt)))
    await camera.idle_done.wait()
    print("READY", flush=True)  # the till can send its requests
    await serving


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start", path]:
            start(path)
        case ["imports", path]:
            imports(path)
        case ["work", folder, port, url]:
            looks(Path(folder))
            asyncio.run(agent(Path(folder), int(port), url))
