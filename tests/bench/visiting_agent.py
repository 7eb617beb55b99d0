"""The agent in the scene of ``visits``, a separate process.

``python -m tests.bench.visiting_agent FOLDER PORT API_URL START_S SECONDS`` prints READY at the start of the
scene, and one JSON line at its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agent.config import CameraConfig, CompareConfig, Config, MqttConfig, StorageConfig
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from tests.bench.cost import cpu_s
from tests.bench.frames import DrawnScene, LoopCamera, frames_alone
from tests.bench.scene import EMPTY_S, FPS, SCENE


def config(folder: Path, port: int, url: str) -> Config:
    return Config(
        profile="demo",
        inline_reference=True,
        camera=CameraConfig(fps=FPS),
        compare=CompareConfig(
            url=url,
            appid="1250000001",
            secret_id="AKIDEXAMPLEEXAMPLEEXAMPLE",
            secret_key_file=folder / "secret",
        ),
        mqtt=MqttConfig(port=port),
        storage=StorageConfig(directory=folder / "state"),
    )


async def replay_alone(start_s: float, seconds: float) -> float:
    """CPU seconds for the same images at the same rate, discarded; extrapolated from a tenth of the time."""
    part_s = seconds / 10
    with DrawnScene(SCENE, start_s, part_s + 2, FPS) as drawing:
        camera = LoopCamera(drawing.take, FPS)
        camera.start()
        await camera.next_frame(0)
        return 10 * await frames_alone(camera, round(part_s * FPS))


async def play(agent_config: Config, start_s: float, seconds: float) -> dict[str, Any]:
    replay_s = await replay_alone(start_s, seconds)
    with DrawnScene(SCENE, start_s, seconds, FPS) as drawing:
        camera = LoopCamera(drawing.take, FPS)
        stop, ready = asyncio.Event(), asyncio.Queue[AgentHandle]()
        agent = asyncio.create_task(serve(agent_config, stop, Overrides(camera, on_ready=ready.put_nowait)))
        running = await ready.get()
        start_cpu_s = cpu_s()
        print("READY", flush=True)
        empty_s = max(0.0, EMPTY_S - start_s)
        await asyncio.sleep(empty_s)
        empty_cpu_s = cpu_s() - start_cpu_s
        await asyncio.sleep(seconds - empty_s)
        frames = running.terminal.counters.frames_handled
        report = {
            "cpu_s": cpu_s() - start_cpu_s,
            "empty_cpu_s": empty_cpu_s,
            "replay_s": replay_s,
            "frames": frames,
        }
        stop.set()
        await agent
    return report


if __name__ == "__main__":
    agent_config = config(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    print(json.dumps(asyncio.run(play(agent_config, float(sys.argv[4]), float(sys.argv[5])))), flush=True)
