"""``facepay`` for tests that need its output and exit code, without the start of an interpreter for each.

The imports of a command take most of its time. One server in each pytest worker imports the package once and
forks a process for each command. The process runs ``agent.cli`` as ``python -m agent.cli`` does, with its
own working folder, environment, input, output and exit code. Of the variables that an interpreter reads at
its start, it uses PYTHONIOENCODING, PYTHONUNBUFFERED, and PYTHONWARNINGS if it is ``error``. A test of
imports, a shell or an empty environment starts its own interpreter instead.

``facepay`` runs the exit handlers and does not free the modules: this takes more CPU time than most commands.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVER_S = 120.0  # until the server has imported the package on a busy machine
# facepay with shorter waits, for an endpoint that may become a broker later: each wait ends by its time-out
SHORT_WAITS = """
import agent.cli.fleet_watch, agent.cli.till, agent.fleet.diagnosis_client
import agent.kits.load.connections, agent.kits.till.client, agent.kits.till.watcher
from agent.cli import main
agent.kits.till.watcher.STATE_TIMEOUT_S = agent.cli.till._STATE_S = 3.0
agent.kits.till.client.TillClient.online.__defaults__ = (3.0,)
agent.fleet.diagnosis_client.STATE_TIMEOUT_S = agent.cli.fleet_watch._CONNECT_S = 3.0
agent.kits.load.connections.UP_TIMEOUT_S = 3.0
main()
"""
# not imported by the server: they need a library of the Pi or of the demo
ELSEWHERE = ("agent.camera.picamera", "agent.demo")
# A command runs the networks with OpenCV, as on a machine without this library, which compiles them for 1 s.
NOT_IN_COMMANDS = ("openvino",)
_STARTING = threading.Lock()


def facepay(
    *arguments: str | Path,
    cwd: Path | None = None,
    timeout_s: float = 90.0,
    answers: str = "",
    code: str = "",
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; ``env`` is added to the environment, ``answers`` is its input.

    ``code``: as of ``Command``.

    Raises ``subprocess.TimeoutExpired``; the command is killed.
    """
    words = list(map(str, arguments))
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(answers.encode())
        given.seek(0)
        files = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
        with Command(words, **files, cwd=cwd, env=env, code=code, frees_modules=False) as command:
            try:
                exit_code = command.wait(timeout_s)
            except subprocess.TimeoutExpired:
                command.kill()
                raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            words, exit_code, out.read().decode(encoding), err.read().decode(encoding)
        )


def as_nobody(*arguments: str | Path, modules: str) -> subprocess.CompletedProcess[str]:
    """Run one command as a user without rights; root only.

    ``modules`` are imported as root, because they must be readable. The command ends without exit handlers:
    the handler of coverage cannot write its data as this user.
    """
    code = f"""
import os, sys
from agent.cli import main
import typer, {modules}
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    main()
except SystemExit as ended:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended.code)
"""
    return facepay(*arguments, code=code)


class Command:
    """A command that runs, with the part of ``subprocess.Popen`` that tests use.

    ``stdin``, ``stdout``, ``stderr``: descriptors; the command gets copies of them. Without ``stdin``, its
    input is empty. ``env`` is added to the environment. ``code``: Python code that runs in the place of
    ``facepay``, with ``words`` in ``sys.argv[1:]``. ``frees_modules``: it ends as an interpreter does. As a
    context manager, it closes its socket at the end and does not wait for the command.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: int = 1,
        stderr: int = 2,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        code: str = "",
        frees_modules: bool = True,
    ) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        self._waiting = threading.Lock()
        complete = {**os.environ, **(env or {})}
        request = json.dumps([self.args, str(cwd or Path.cwd()), complete, code, frees_modules]).encode()
        self._link, its_link = socket.socketpair()
        with its_link, Path(os.devnull).open("rb") as empty:
            files = [empty.fileno() if stdin is None else stdin, stdout, stderr]
            socket.send_fds(_server()[0], [b"+"], [its_link.fileno(), *files])
        self._link.settimeout(SERVER_S)
        self._link.sendall(len(request).to_bytes(4) + request)
        self.pid = int.from_bytes(_exactly(self._link, 4))

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._link.close()

    def poll(self) -> int | None:
        """The exit code, the negative number of the signal that ended it, or None: it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code as of ``poll``, also in several threads.

        Raises ``subprocess.TimeoutExpired`` after ``timeout`` seconds.
        """
        late = subprocess.TimeoutExpired(self.args, timeout or 0.0)
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise late
        try:
            if self.returncode is None:
                self._link.settimeout(timeout)
                self.returncode = int.from_bytes(_exactly(self._link, 4), signed=True)
        except (TimeoutError, BlockingIOError):
            raise late from None
        finally:
            self._waiting.release()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The server of this worker. It ends with the worker: then no process has this end of its socket."""
    with _STARTING:  # the first commands of a test can start at once
        return _start_server()


@cache
def _start_server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, its = socket.socketpair()
    with its:
        command = [sys.executable, "-m", "tests.commands", str(its.fileno())]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()])
    atexit.register(_end_server, os.getpid(), ours, server)
    return ours, server


def _end_server(worker: int, control: socket.socket, server: subprocess.Popen[bytes]) -> None:
    """Close the socket and wait: otherwise the worker ends with a ResourceWarning, "still running"."""
    if os.getpid() == worker:  # not in a process that the worker has forked
        control.close()
        server.wait(SERVER_S)


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = link.recv(count - len(data))
        assert piece, "the server of commands ended"
        data += piece
    return data


def _serve(control: socket.socket) -> tuple[socket.socket, list[int]]:
    """Fork a process for each request. Returns only in such a process: its socket, and its three files."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import typer.rich_utils  # noqa: F401

        import agent

        for library in NOT_IN_COMMANDS:
            sys.modules[library] = None  # type: ignore[assignment] # importing it fails, as without it
        for module in pkgutil.walk_packages(agent.__path__, "agent."):
            if not module.name.startswith(ELSEWHERE) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        _share_networks()

    gc.freeze()  # the collector of a command leaves the shared memory as it is
    commands = dict[int, tuple[int, socket.socket]]()  # by the descriptor of the process: pid and socket
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in commands:
                poll.unregister(fd)
                _report_end(fd, *commands.pop(fd))
                continue
            one, fds, _, _ = socket.recv_fds(control, 1, 4)
            if not one:
                os._exit(0)
            link = socket.socket(fileno=fds[0])
            pid = os.fork()
            if pid == 0:
                for other, (_, its_link) in commands.items():
                    os.close(other)
                    its_link.close()
                control.close()
                return link, fds[1:]
            for each in fds[1:]:  # the reader of a pipe sees the end of the command
                os.close(each)
            with contextlib.suppress(OSError):  # no test waits for it
                link.sendall(pid.to_bytes(4))
            process = os.pidfd_open(pid)
            commands[process] = pid, link
            poll.register(process, select.POLLIN)


def _report_end(process: int, pid: int, link: socket.socket) -> None:
    os.close(process)
    _, status = os.waitpid(pid, 0)
    with link, contextlib.suppress(OSError):  # no test waits for it
        link.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))


def _share_networks() -> None:
    from agent.service import networks
    from agent.vision import detector_check
    from tests.service.loaded_once import LoadedOnce, load_before_fork

    load_before_fork()
    vars(networks).update(Embedder=LoadedOnce)
    vars(detector_check).update(Embedder=LoadedOnce)


def _become_command(link: socket.socket, files: list[int]) -> tuple[str, bool]:
    """Become the command that the test sends. Returns the code to run, empty: ``facepay``; and the end."""
    words, cwd, env, code, frees_modules = json.loads(_exactly(link, int.from_bytes(_exactly(link, 4))))
    link.close()
    for target, fd in enumerate(files):
        os.dup2(fd, target)
        os.close(fd)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None
    random.seed()
    sys.argv[1:] = words
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if env.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    _open_streams(env)
    return str(code), bool(frees_modules or env.get("PYTHONWARNINGS"))


def _open_streams(env: Mapping[str, str]) -> None:
    """The three streams on the files of the command, as an interpreter opens them at its start."""
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    for name, fd, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = io.FileIO(fd, "wb", closefd=False)
        buffer = raw if env.get("PYTHONUNBUFFERED") else io.BufferedWriter(raw)
        at_once = fd == 2 or raw.isatty()
        stream = io.TextIOWrapper(
            buffer, encoding, errors, line_buffering=at_once, write_through=buffer is raw
        )
        setattr(sys, name, stream)


def _end_without_freeing(ended: SystemExit) -> None:
    """The end of an interpreter that frees no object. Returns if the complete end is needed."""
    if isinstance(ended.code, int | None):
        threading._shutdown()  # type: ignore[attr-defined] # waits for threads that are no daemons
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended.code or 0)


def _run(code: str) -> None:
    if code:
        exec(code, {"__name__": "__main__"})
    else:
        runpy.run_module("agent.cli", run_name="__main__", alter_sys=True)
    raise SystemExit


if __name__ == "__main__":
    given_code, given_end = _become_command(*_serve(socket.socket(fileno=int(sys.argv[1]))))
    try:
        _run(given_code)
    except SystemExit as given:
        if not given_end:
            _end_without_freeing(given)
        raise
