"""The duration of `--help`, `status` and `doctor` as complete processes, and of a metrics scrape.

Measured beside a healthy serving agent with a real broker and a real compare service.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.bare_imports import import_command, modules_of
from tests.bench.memory import start
from tests.bench.report import Section, percentile, spread
from tests.brokers import Mosquitto, free_port
from tests.diagnostics.kit import TerminalFiles
from tests.service.kit import running, slow_machine_config

RUNS, RUNS_QUICK = 20, 1
DOCTOR_RUNS, DOCTOR_RUNS_QUICK = 5, 1
SCRAPES, SCRAPES_QUICK = 100, 5
TOKEN = "a-token-of-the-benchmark"


def command_times_ms(command: list[str], runs: int) -> list[float]:
    """Wall times of a command in ms; with several runs, after one more that fills the caches.

    Raises:
        RuntimeError: the exit code is not 0, 1 or 2. Doctor may exit with 1 or 2 because of this machine.
    """
    times_ms = []
    warm_ups = 1 if runs > 1 else 0
    for _ in range(warm_ups + runs):
        start_s = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        times_ms.append((time.perf_counter() - start_s) * 1e3)
        if done.returncode not in (0, 1, 2):
            raise RuntimeError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}")
    return times_ms[warm_ups:]


def echo_times_ms(times: int) -> list[float]:
    """Times of GET to a bare uvicorn in another process, by the same client with the same pauses."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "tests.bench.echo", str(port)]) as server:
        try:
            _await_server(port)
            return scrape_times_ms(port, times)
        finally:
            server.terminate()


def _await_server(port: int) -> None:
    until_s = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)
        else:
            return


def scrape_times_ms(port: int, times: int) -> list[float]:
    """Times of GET /metrics in ms, over one kept connection, with pauses as between scrapes."""
    times_ms = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
        for _ in range(times + 1):
            time.sleep(0.03)
            start_s = time.perf_counter()
            answer = client.get("/metrics")
            times_ms.append((time.perf_counter() - start_s) * 1e3)
            answer.raise_for_status()
    return times_ms[1:]


def run(*, quick: bool = False) -> Section:
    section = Section("command line tools, as complete processes")
    with tempfile.TemporaryDirectory() as name, running(slow_machine_config()) as service:
        folder = Path(name)
        broker = Mosquitto(folder).start()
        port = free_port()
        token = folder / "page-token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        page = f'[page]\nlisten = "loopback"\nport = {port}\ntoken_file = "{token}"\n'
        config = TerminalFiles(folder, service.url, broker.port, extra=page).write()
        agent, _ = start(config, dict(os.environ))
        try:
            _measure(section, config, quick=quick)
            times_ms = scrape_times_ms(port, SCRAPES_QUICK if quick else SCRAPES)
            section.rows.append({"command": "GET /metrics", "unit": "ms", **spread(times_ms)})
            echo_ms = echo_times_ms(len(times_ms))
            section.rows.append({"command": "a bare uvicorn echo", "unit": "ms", **spread(echo_ms, 2)})
            section.measure("scrape", round(percentile(times_ms, 0.5), 2), round(percentile(echo_ms, 0.5), 2))
        finally:
            agent.terminate()
            agent.wait(10)
            broker.stop()
    return section


def _measure(section: Section, config: Path, *, quick: bool) -> None:
    runs, doctor_runs = (RUNS_QUICK, DOCTOR_RUNS_QUICK) if quick else (RUNS, DOCTOR_RUNS)
    for key, arguments, times in (
        ("help", ["--help"], runs),
        ("status", ["status", "--config", str(config)], runs),
        ("doctor", ["doctor", "--config", str(config)], doctor_runs),
    ):
        listed = modules_of(arguments, config.parent, dict(os.environ))
        times_ms = command_times_ms([sys.executable, "-m", "agent.cli", *arguments], times)
        bare_ms = command_times_ms(import_command(listed), times)
        name = "facepay " + arguments[0]
        section.rows.append({"command": name, "unit": "ms", **spread(times_ms, 0)})
        section.rows.append({"command": f"{name}: its imports bare", "unit": "ms", **spread(bare_ms, 0)})
        section.measure(key, round(percentile(times_ms, 0.5)), round(percentile(bare_ms, 0.5)))
