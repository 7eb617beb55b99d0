"""One fixed 90 s scene at 10 fps: us and a naive peer, each in a process of its own, one after the other.

Four people pay, two pass by and never look; a till asks when somebody comes. The pictures are drawn
beforehand; broker, till and API stand in the measuring process, so a side's CPU (getrusage) is its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from agent.camera.scene import load_scene
from agent.config import CameraConfig, CompareConfig, Config, MqttConfig, StorageConfig
from agent.daemon import Overrides, Running, serve
from agent.resources import data
from agent.service.settings import EXAMPLE_SECRET
from agent.till.topics import Topics
from agent.tillkit.ask import Till
from tests.bench.frames import LoopCamera, Pixels, drawn
from tests.bench.idle import cpu_s, frames_alone
from tests.bench.report import Section
from tests.bench.stub_api import StubApi
from tests.brokers import Mosquitto

FPS = 10.0
LENGTH_S = 90.0
ASKED_AT_S = (31.5, 47.5, 59.5, 76.5)  # a till asks when the customer steps up
TTL_MS = 9_000


def frames(seconds: float) -> list[Pixels]:
    """The scene's pictures, drawn beforehand (2.7 MB each)."""
    return drawn(load_scene(str(Path(__file__).parent / "visits.toml")), count=int(seconds * FPS))


async def ours(folder: Path, port: int, url: str, seconds: float) -> dict[str, Any]:
    """Our agent alone; it says READY on stdout when the scene begins to play."""
    config = Config(
        profile="demo",
        inline_reference=True,
        camera=CameraConfig(fps=FPS),
        compare=CompareConfig(
            url=url,
            appid="1250000001",
            secret_id="AKIDEXAMPLEEXAMPLEEXAMPLE",
            secret_key_file=folder / "secret",
        ),
        verification=Config().verification.model_copy(update={"budget_ms": TTL_MS}),
        mqtt=MqttConfig(port=port),
        storage=StorageConfig(directory=folder / "state"),
    )
    pictures = frames(seconds)
    replay = LoopCamera(pictures[:50], FPS)
    replay.start()
    replay_s = await frames_alone(replay, 5.0) / 5.0 * seconds
    camera, stop, ready = LoopCamera(pictures, FPS), asyncio.Event(), asyncio.Queue[Running]()
    agent = asyncio.create_task(serve(config, stop, Overrides(camera, on_ready=ready.put_nowait)))
    running = await ready.get()
    began = cpu_s()
    print("READY", flush=True)
    await asyncio.sleep(seconds)
    counters = running.terminal.counters
    spent = {"cpu_s": cpu_s() - began, "replay_s": replay_s, "frames": counters.frames_seen}
    stop.set()
    await agent
    return spent


async def _ask_as_customers_come(till: Till, began_s: float, seconds: float) -> list[str]:
    loop = asyncio.get_running_loop()
    enrolled = data("photos/enrolled/obama_portrait.jpg").read_bytes()
    verdicts = []
    for at_s in (moment for moment in ASKED_AT_S if moment < seconds):
        await asyncio.sleep(began_s + at_s - loop.time())
        verdict = await till.ask(enrolled, ttl_ms=TTL_MS)
        verdicts.append(f"{verdict.decision}/{verdict.reason}")
    return verdicts


async def _side(
    command: list[str], api: StubApi, port: int, seconds: float
) -> tuple[dict[str, Any], list[str]]:
    """Run one side; (what it says of itself, the verdicts our till got)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE, limit=2**20
    )
    assert process.stdout is not None
    verdicts: list[str] = []
    if command[0] == "tests.bench.visits":
        assert (await process.stdout.readline()).strip() == b"READY"
        began_s = asyncio.get_running_loop().time()
        till = Till(MqttConfig(port=port), Topics("site", "terminal"), "till-1")
        await till.start()
        verdicts = await _ask_as_customers_come(till, began_s, seconds)
        await till.stop()
    told: dict[str, Any] = json.loads(await process.stdout.readline())
    await process.wait()
    return told | {"calls": len(api.calls), "bytes": api.bytes_in, "connections": api.connections}, verdicts


async def _both(seconds: float) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "secret").write_bytes(EXAMPLE_SECRET)
        broker = Mosquitto(Path(name)).start()
        sides, verdicts = [], []
        for module, extra in (("tests.bench.visits", [name]), ("tests.bench.naive", [])):
            api = await StubApi().start()
            command = [module, *extra, str(broker.port), api.url, str(seconds)]
            side, said = await _side(command, api, broker.port, seconds)
            sides.append(side)
            verdicts += said
            await api.stop()
        broker.stop()
        return sides[0], sides[1], verdicts


def run(*, quick: bool) -> Section:
    section = Section("a 90 s scene: four who pay, two who pass by")
    seconds = 5.0 if quick else LENGTH_S
    us, naive, verdicts = asyncio.run(_both(seconds))
    own_s = max(1e-3, us["cpu_s"] - us["replay_s"])
    for name, side, cpu in (("facepay-agent", us, own_s), ("naive peer", naive, naive["cpu_s"])):
        section.rows.append(
            {
                "side": name,
                "cpu (s)": round(cpu, 2),
                "api calls": side["calls"],
                "bytes to api": side["bytes"],
                "connections": side["connections"],
                "frames": side["frames"],
            }
        )
    ratios = {"cpu (s)": round(naive["cpu_s"] / own_s, 1)}
    if us["bytes"]:
        ratios |= {
            "api calls": round(naive["calls"] / us["calls"], 1),
            "bytes to api": round(naive["bytes"] / us["bytes"], 1),
        }
    section.rows.append({"side": "naive / ours", **ratios})
    asked = sum(moment < seconds for moment in ASKED_AT_S)
    section.notes.append(
        f"our till's verdicts: {', '.join(verdicts) or 'none'}; {asked} visits, {us['calls']} calls"
    )
    section.notes.append(
        f"replaying the frames alone: {us['replay_s']:.2f} s of CPU, taken off ours (not off the peer's)"
    )
    section.notes.append(
        "goals: >= 15x less CPU, >= 50x fewer bytes, one call per visit, none useless, none missed"
    )
    return section


if __name__ == "__main__":
    said = asyncio.run(ours(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
    print(json.dumps(said), flush=True)
