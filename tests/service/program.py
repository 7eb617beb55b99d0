"""The service as a program of its own: its memory, its signals and its restarts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.commands import Command
from tests.service.kit import APPID, BUCKET, SECRET_ID

_SCRIPT = """
import gc, os, sys
from pathlib import Path
from agent.health.process import disable_core_dumps
from agent.service.compare_service import serve
from agent.service.settings import load_service
gc.disable()
os.environ.update({"LISTEN_PID": str(os.getpid())} if "LISTEN_FDS" in os.environ else {})
read = lambda: load_service(Path(sys.argv[1]))
serve(read(), reread=read, json_lines=True)
"""
WAIT_S = 180.0
# For ``setup``: OpenCV runs the networks. OpenVINO compiles them at each start, for 1 s of CPU.
WITHOUT_OPENVINO = "import sys; sys.modules['openvino'] = None\n"


@dataclass
class Program:
    """A running service. ``url`` as printed; ``log`` is the file of its stderr."""

    process: subprocess.Popen[bytes] | Command
    config: Path
    log: Path
    url: str = ""
    fds: list[int] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        found = re.search(r"//([^/]+):(\d+)/", self.url)
        assert found
        return found[1], int(found[2])

    def memory_kb(self, name: str = "VmRSS") -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0])

    def forget_peak(self) -> None:
        """Count VmHWM from the present memory on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def lines(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + WAIT_S
        while text not in self.lines():
            assert time.monotonic() < until, self.lines()[-3_000:]
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


def write_config(path: Path, accounts: str = "", **changes: Any) -> Path:
    """A config file. Values are written as TOML numbers, texts and lists of texts."""
    lines = [f"{name} = {str(value).replace(chr(39), chr(34))}" for name, value in changes.items()]
    example = (
        f'[[accounts]]\nappid = "{APPID}"\nsecret_id = "{SECRET_ID}"\nexample = true\n'
        f'buckets = ["{BUCKET}"]\nrate_per_s = 10000\nburst = 10000\n'
    )
    path.write_text("\n".join(["port = 0", *lines]) + "\n" + (accounts or example))
    return path


def start(config: Path, log: Path, *, fresh: bool = True, setup: str = "", **environment: str) -> Program:
    """Start; returns before the service is ready. Without ``LISTEN_FDS`` no descriptor is passed.

    ``fresh``: a new interpreter, for tests of descriptors and of memory. Otherwise the server of commands
    has imported its modules. ``setup``: Python code that runs first.
    """
    script = setup + _SCRIPT
    process: subprocess.Popen[bytes] | Command
    with log.open("wb") as stderr:
        if not fresh:
            process = Command([str(config)], stderr=stderr.fileno(), env=environment, code=script)
            return Program(process, config, log)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(config)],
            stderr=stderr,
            env={**os.environ, **environment},
            close_fds="LISTEN_FDS" not in environment,
        )
    return Program(process, config, log)


def until_ready(program: Program) -> Program:
    until = time.monotonic() + WAIT_S
    while not (found := re.search(r"service ready on (\S+)", program.lines())):
        assert program.process.poll() is None and time.monotonic() < until, program.lines()[-3_000:]
        time.sleep(0.02)
    program.url = found[1]
    return program


@contextlib.contextmanager
def program(
    folder: Path, accounts: str = "", *, fresh: bool = False, setup: str = "", **changes: Any
) -> Iterator[Program]:
    """A service that is ready, and its end. ``fresh``, ``setup``: as of ``start``."""
    config = write_config(folder / "service.toml", accounts, **changes)
    made = start(config, folder / "log", fresh=fresh, setup=setup)
    try:
        yield until_ready(made)
    finally:
        made.process.kill()
        made.process.wait()
        if isinstance(made.process, Command):
            made.process.close()
