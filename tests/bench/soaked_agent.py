"""The agent of the soak, a separate process: ``python -m tests.bench.soaked_agent FOLDER PORT API_URL``.

A payer is always in front of the camera; trace and log are on. Prints READY, serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from agent.config import (
    CameraConfig,
    CompareConfig,
    Config,
    GuardConfig,
    MqttConfig,
    StorageConfig,
    TraceConfig,
)
from agent.log import setup
from agent.root.daemon import Overrides, serve
from tests.bench.frames import LoopCamera, drawn

FPS = 60.0


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
        guard=GuardConfig(calls_per_minute=0, calls_per_day=0, calls_per_day_warning=0),
        mqtt=MqttConfig(port=port, requests_per_minute=6_000),
        storage=StorageConfig(directory=folder / "state"),
        trace=TraceConfig(enabled=True, max_bytes=10_000_000),
    )


async def main(folder: Path, port: int, url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    camera = LoopCamera.of(drawn("one_obama_portrait", count=20), FPS)
    await serve(
        config(folder, port, url), stop, Overrides(camera, on_ready=lambda _: print("READY", flush=True))
    )


if __name__ == "__main__":
    setup("info")
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
