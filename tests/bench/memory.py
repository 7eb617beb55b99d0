"""Start time and memory of the agent: process start → READY, and proportional memory (PSS), step by step.

Bytecode is cached, as for an installed package; the first start fills the cache and is not measured. A quick
run measures each step and the agent once, without a cache of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent.service.settings import EXAMPLE_SECRET
from tests.bench.bare_imports import imported, modules_of
from tests.bench.cost import pss_mib
from tests.bench.report import Row, Section, percentile
from tests.brokers import Mosquitto

STEPS = (  # each step is run after all earlier steps
    ("python", "pass"),
    ("+ command line (typer, asyncio)", "import asyncio, agent.cli"),
    ("+ config (pydantic)", "import agent.config"),
    ("+ numpy, cv2", "import cv2, numpy"),
    ("+ YuNet loaded and run", "import tests.bench.memory as m; keep = m.warm_detector()"),
    ("+ httpx, paho, joserfc, sqlite, modules of the agent", "import agent.root.daemon, httpcore"),
)
MEASURE = "import sys, time, tests.bench.cost as c; print(time.monotonic() - float(sys.argv[1]), c.pss_mib())"


def warm_detector() -> object:
    """A detector after its first detection."""
    import numpy as np

    from agent.vision.detector import Detector

    detector = Detector.load()
    detector.detect(np.zeros((720, 1280, 3), np.uint8))
    return detector


def agent_config(folder: Path, port: int) -> Path:
    (folder / "secret").write_bytes(EXAMPLE_SECRET)
    path = folder / "agent.toml"
    path.write_text(
        f'profile = "demo"\n[camera]\nsource = "empty"\n[compare]\nappid = "1250000001"\n'
        f'secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"\nsecret_key_file = "{folder / "secret"}"\n'
        f'[mqtt]\nport = {port}\n[storage]\ndirectory = "{folder / "state"}"\n'
    )
    return path


def start(config: Path, env: dict[str, str]) -> tuple[subprocess.Popen[bytes], float]:
    """(process, milliseconds to READY)."""
    with (
        tempfile.TemporaryDirectory() as name,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify_socket,
    ):
        notify_socket.bind(f"{name}/notify")
        notify_socket.settimeout(60)
        command = [sys.executable, "-m", "agent.cli", "run", "--config", str(config)]
        start_s = time.perf_counter()
        process = subprocess.Popen(
            command, env=env | {"NOTIFY_SOCKET": f"{name}/notify"}, stderr=subprocess.DEVNULL
        )
        try:
            while b"READY=1" not in notify_socket.recv(4_096):
                pass
        except TimeoutError:
            process.kill()
            process.wait()
            raise
        return process, (time.perf_counter() - start_s) * 1e3


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def with_bytecode(folder: Path) -> dict[str, str]:
    """This environment with a separate cache of compiled modules."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def run(*, quick: bool) -> Section:
    section = Section("start and memory of the agent")
    with tempfile.TemporaryDirectory() as name:
        env = dict(os.environ) if quick else with_bytecode(Path(name))
        section.rows += _steps(env, 1 if quick else 5, warm_up=not quick)
        broker = Mosquitto(Path(name)).start()
        try:
            section.rows.append(_serving(section, agent_config(Path(name), broker.port), env, quick=quick))
        finally:
            broker.stop()
    section.notes += [
        "each step in fresh processes; serving: replay camera, broker on loopback, idle for 3 s",
        "PSS divides shared pages among all processes that map them: other Python programs lower the value",
    ]
    return section


def _serving(section: Section, config: Path, env: dict[str, str], *, quick: bool) -> Row:
    """The complete agent: time to systemd's READY notification, memory after some seconds of serving."""
    process, ready_ms = start(config, env)
    times_ms = [ready_ms] if quick else []
    while len(times_ms) < (1 if quick else 10):  # the first start fills the cache
        end(process)
        process, ready_ms = start(config, env)
        times_ms.append(ready_ms)
    time.sleep(0.5 if quick else 3)
    size_mib = round(pss_mib(process.pid), 1)
    end(process)
    p50, p95 = round(percentile(times_ms, 0.5)), round(percentile(times_ms, 0.95))
    listed = modules_of(["run", "--config", str(config)], config.parent, env)
    runs = [imported(listed, env) for _ in range(2 if quick else 11)][1:]
    bare_ms = [elapsed_ms for elapsed_ms, _ in runs]
    bare: Row = {"p50 ms": round(percentile(bare_ms, 0.5)), "p95 ms": round(percentile(bare_ms, 0.95))}
    bare |= {"n": len(bare_ms), "PSS MiB": round(percentile([size for _, size in runs], 0.5), 1)}
    section.rows.append({"what": "the libraries of the agent at READY, imported bare", **bare})
    section.measure("ready", p50, bare["p50 ms"])
    section.measure("pss", size_mib, bare["PSS MiB"])
    what = "the agent: READY, then serving"
    return {"what": what, "p50 ms": p50, "p95 ms": p95, "n": len(times_ms), "PSS MiB": size_mib}


def _steps(env: dict[str, str], count: int, *, warm_up: bool) -> list[Row]:
    rows: list[Row] = []
    code: list[str] = []
    for title, step in STEPS:
        code.append(step)
        script = "\n".join([*code, MEASURE])
        if warm_up:
            _run_script(script, env)  # compiles
        pairs = [_run_script(script, env) for _ in range(count)]
        times_ms = [1e3 * pair[0] for pair in pairs]
        rows.append(
            {
                "what": title,
                "p50 ms": round(percentile(times_ms, 0.5)),
                "p95 ms": round(percentile(times_ms, 0.95)),
                "n": count,
                "PSS MiB": round(pairs[-1][1], 1),
            }
        )
    return rows


def _run_script(script: str, env: dict[str, str]) -> tuple[float, float]:
    """(seconds since the start of the process, PSS in MiB) at the end of a script."""
    command = [sys.executable, "-c", script, str(time.monotonic())]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.split()
    return float(output[0]), float(output[1])
