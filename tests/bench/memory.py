"""Start and size of the agent: process start → READY, and proportional memory (PSS) with where it goes."""

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
from tests.bench.report import Section, spread
from tests.brokers import Mosquitto

STEPS = (
    ("python", "pass"),
    ("+ asyncio, config (pydantic)", "import asyncio, agent.config"),
    ("+ cv2, numpy", "import cv2, numpy"),
    ("+ YuNet loaded and run", "import tests.bench.memory as m; keep = m.warm_eye()"),
    ("+ httpx, paho, joserfc, sqlite", "import agent.daemon"),
)
PSS_SNIPPET = (
    "print(next(int(line.split()[1]) for line in open('/proc/self/smaps_rollup') if line.startswith('Pss:')))"
)


def warm_eye() -> object:
    """A detector that has looked once."""
    import numpy as np

    from agent.vision.detector import Detector

    detector = Detector.load()
    detector.detect(np.zeros((720, 1280, 3), np.uint8))
    return detector


def pss_mib(pid: int) -> float:
    """Proportional set size of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def agent_config(folder: Path, port: int) -> Path:
    (folder / "secret").write_bytes(EXAMPLE_SECRET)
    path = folder / "agent.toml"
    path.write_text(
        f'profile = "demo"\n[camera]\nsource = "nobody"\n[compare]\nappid = "1250000001"\n'
        f'secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"\nsecret_key_file = "{folder / "secret"}"\n'
        f'[mqtt]\nport = {port}\n[storage]\ndirectory = "{folder / "state"}"\n'
    )
    return path


def start(config: Path) -> tuple[subprocess.Popen[bytes], float]:
    """(process, milliseconds to READY)."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"{name}/notify")
        ear.settimeout(60)
        env = os.environ | {"NOTIFY_SOCKET": f"{name}/notify"}
        command = [sys.executable, "-m", "agent.cli", "run", "--config", str(config)]
        began = time.perf_counter()
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        while b"READY=1" not in ear.recv(4_096):
            pass
        return process, (time.perf_counter() - began) * 1e3


def run(*, quick: bool) -> Section:
    section = Section("start and memory of the agent")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder).start()
        config = agent_config(folder, broker.port)
        times = []
        for _ in range(2 if quick else 10):
            process, ready_ms = start(config)
            times.append(ready_ms)
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        section.rows.append({"what": "process start to READY (ms), goal <= 500", **spread(times, 0)})
        process, _ = start(config)
        time.sleep(3)
        section.rows.append(
            {"what": "agent serving, idle: PSS (MiB), goal <= 110", "p50": round(pss_mib(process.pid), 1)}
        )
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        broker.stop()
    section.rows += _breakdown()
    section.notes.append(
        "the breakdown adds one step at a time in fresh processes; replay camera, broker on loopback"
    )
    return section


def _breakdown() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    done: list[str] = []
    for title, code in STEPS:
        done.append(code)
        command = [sys.executable, "-c", "\n".join([*done, PSS_SNIPPET])]
        kib = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append({"what": f"PSS (MiB): {title}", "p50": round(kib / 1024, 1)})
    return rows
