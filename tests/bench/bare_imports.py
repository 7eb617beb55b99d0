"""The calibration of start times: the libraries of a command, imported bare in the same order.

A first process runs the command and lists its modules, without those of this project: the agent at its READY
notification, another command at its end. A second process (import_bare.py) imports these modules. A module
that the command blocked (``None`` in ``sys.modules``) is blocked there, too: the command does not pay for it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.cost import pss_mib

_OWN = ("agent", "tests", "__main__", "_virtualenv", "sitecustomize")
# Run as ``python -c``: list the modules at the first message to the supervisor, or at the end.
_RECORD = """
import os, sys
def record():
    if "FACEPAY_MODULES" in os.environ:
        with open(os.environ.pop("FACEPAY_MODULES"), "w") as file:
            modules = list(sys.modules.items())
            file.write("\\n".join("!" * (module is None) + name for name, module in modules))
def on_event(name, arguments):
    if name == "socket.sendmsg":
        record()
import atexit
sys.addaudithook(on_event)
atexit.register(record)
import runpy
sys.argv = ["facepay", *sys.argv[1:]]
runpy.run_module("agent.cli", run_name="__main__", alter_sys=True)
"""
_IMPORT = Path(__file__).with_name("import_bare.py")


def modules_of(arguments: Sequence[str], folder: Path, env: dict[str, str]) -> Path:
    """A file with the libraries' modules that ``facepay ARGUMENTS`` imports, one a line, in order.

    ``!`` before a name: the command blocked this module.
    ``run`` is ended after READY. Raises ``RuntimeError`` when the command imports nothing.
    """
    listed = folder / f"modules-{arguments[0].strip('-')}"
    command = [sys.executable, "-c", _RECORD, *arguments]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(f"{folder}/{arguments[0].strip('-')}.notify")
        supervisor.settimeout(60)
        env = env | {"FACEPAY_MODULES": str(listed)}
        if arguments[0] == "run":
            env["NOTIFY_SOCKET"] = supervisor.getsockname()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if arguments[0] == "run":
            supervisor.recv(4_096)
            process.terminate()
        process.wait(60)
    names = [name for name in listed.read_text().split() if name.lstrip("!").split(".")[0] not in _OWN]
    if not names:
        raise RuntimeError(f"{arguments}: no module was imported")
    listed.write_text("\n".join(names))
    return listed


def import_command(listed: Path) -> list[str]:
    """The command that imports the modules of a file and ends."""
    return [sys.executable, "-P", str(_IMPORT), str(listed)]  # -P: no name of tests/bench hides a library


def imported(listed: Path, env: dict[str, str]) -> tuple[float, float]:
    """(ms from the start of a process until it has imported the modules, PSS in MiB of the process then).

    The end of the process is not included: the agent's READY is not at its end either.
    """
    command, start_s = [*import_command(listed), "hold"], time.perf_counter()
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.read(1)
        elapsed_ms = (time.perf_counter() - start_s) * 1e3
        size_mib = pss_mib(process.pid)
        process.stdin.close()
    return elapsed_ms, size_mib
