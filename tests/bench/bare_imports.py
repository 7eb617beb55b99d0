"""The calibration of start times: the libraries of a command, imported bare in the same order.

A first process runs the command and lists its modules, without those of this project: the agent at its READY
notification, another command at its end. A second process imports these modules and does nothing else.
"""

from __future__ import annotations

import socket
import subprocess
import sys
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
            file.write("\\n".join(list(sys.modules)))
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
_IMPORT = """
import sys
from importlib import import_module
for name in open(sys.argv[1]).read().split():
    try:
        import_module(name)
    except Exception:  # made by another module, and not importable
        pass
"""


def modules_of(arguments: Sequence[str], folder: Path, env: dict[str, str]) -> Path:
    """A file with the libraries' modules that ``facepay ARGUMENTS`` imports, one a line, in order.

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
    names = [name for name in listed.read_text().split() if name.split(".")[0] not in _OWN]
    if not names:
        raise RuntimeError(f"{arguments}: no module was imported")
    listed.write_text("\n".join(names))
    return listed


def import_command(listed: Path) -> list[str]:
    """The command that imports the modules of a file and ends."""
    return [sys.executable, "-c", _IMPORT, str(listed)]


def pss_of(listed: Path, env: dict[str, str]) -> float:
    """PSS in MiB of a process that has imported the modules."""
    script = f"{_IMPORT}\nsys.stdout.write('.'); sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(listed)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.read(1)
        size_mib = pss_mib(process.pid)
        process.stdin.close()
    return size_mib
