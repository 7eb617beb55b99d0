"""How long a field engineer waits for a word: `--help`, `status` and `doctor` as whole processes.

Beside a serving agent with a real broker and a real compare service; nothing is wrong with that terminal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.memory import start
from tests.bench.report import Section, percentile, spread
from tests.brokers import Mosquitto
from tests.diagnostics.kit import Place
from tests.service.kit import running, shipped

RUNS, RUNS_QUICK = 20, 2
DOCTOR_RUNS, DOCTOR_RUNS_QUICK = 5, 1
HELP_MAX_MS, STATUS_MAX_MS, DOCTOR_MAX_MS = 300, 300, 5_000


def waited_ms(arguments: list[str], runs: int) -> list[float]:
    """Wall time of a command from its start to its end, after one run that fills the caches.

    Raises:
        RuntimeError: it ended with another code than all well or a warning.
    """
    took = []
    for _ in range(runs + 1):
        began_s = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli", *arguments], check=False, capture_output=True, text=True
        )
        took.append((time.perf_counter() - began_s) * 1e3)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{arguments}: {done.returncode}: {done.stdout}{done.stderr}")
    return took[1:]


def run(*, quick: bool = False) -> Section:
    section = Section("the tools of a field engineer, as whole processes")
    with tempfile.TemporaryDirectory() as name, running(shipped()) as service:
        folder = Path(name)
        broker = Mosquitto(folder).start()
        config = Place(folder, service.url, broker.port).write()
        agent, _ = start(config, dict(os.environ))
        try:
            _measure(section, str(config), quick=quick)
        finally:
            agent.terminate()
            agent.wait(10)
            broker.stop()
    return section


def _measure(section: Section, config: str, *, quick: bool) -> None:
    runs, few = (RUNS_QUICK, DOCTOR_RUNS_QUICK) if quick else (RUNS, DOCTOR_RUNS)
    for words, arguments, times, at_most in (
        ("facepay --help", ["--help"], runs, HELP_MAX_MS),
        ("facepay status", ["status", "--config", config], runs, STATUS_MAX_MS),
        ("facepay doctor", ["doctor", "--config", config], few, DOCTOR_MAX_MS),
    ):
        took = waited_ms(arguments, times)
        section.rows.append({"command": words, "unit": "ms", **spread(took, 0)})
        section.goal(f"{words}, p50 (ms)", round(percentile(took, 0.5)), at_most=at_most)
