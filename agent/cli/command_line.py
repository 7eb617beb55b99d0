"""The run of one command, from ``sys.argv`` to the exit code of the process.

Every ``AgentError`` becomes two lines on stderr, ``code: sentence`` and ``fix: step``, then both in the other
languages, and the exit code of its class. A file that this user may not open, and a full disk behind stdout,
are reported in the same way. Any other exception is a defect and keeps its traceback.

A command imports heavy libraries in its function: an import here delays each command.
"""

import codecs
import contextlib
import errno
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from agent.cli import INTERRUPTED
from agent.errors import AgentError, StorageError, failure_at, reason_of
from agent.log import printable, without_url_secrets
from agent.terminal_output import install
from agent.texts import Text, labelled_lines, translated_lines

_PLAIN = {"✓": "+", "✗": "x", "→": "->", "█": "#", "…": "...", "—": "-", "×": "x", "·": "."}
_ERRORS = "facepay_plain"
_REPEAT_S = 0.1  # after the end of the C code
# Variables that replace the trusted authorities, and one that writes the session keys of TLS into a file
_TLS_VARIABLES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"})


def run_process() -> NoReturn:
    """Run the command of ``sys.argv`` and end the process."""
    sys.unraisablehook = _repeat_lost_interrupt
    _remove_connection_variables()
    try:
        _open_missing_streams()
        _configure_output()
        _exit(_run())
    except KeyboardInterrupt:
        _exit(INTERRUPTED)


def _remove_connection_variables() -> None:
    """Remove the variables by which a shell changes connections: only the config decides about these.

    FFmpeg requests a camera stream, with its password, from ``http_proxy``; paho uses ``mqtt_proxy`` when
    PySocks is installed. As in ``urllib.request.getproxies``, each name that ends with _proxy is a proxy.
    """
    for name in tuple(os.environ):
        if name.lower().endswith("_proxy") or name in _TLS_VARIABLES:
            del os.environ[name]


def _repeat_lost_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
    """C code, as in an import, can discard Ctrl-C and print a traceback: send the signal again soon."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        number = signal.SIGTERM if signal.SIGINT in blocked else signal.SIGINT
        threading.Timer(_REPEAT_S, os.kill, (os.getpid(), number)).start()
    else:
        sys.__unraisablehook__(unraisable)


def end_as_ctrl_c() -> None:
    """From now on SIGTERM and SIGHUP act as Ctrl-C: a command with a temporary folder deletes the folder.

    A signal that the caller ignores, e.g. SIGHUP by nohup, stays without effect. For SIGINT, which a shell
    script ignores in its background commands, this is done by the signal mask: asyncio cancels its main task
    only if Python handles SIGINT. Without that, ``KeyboardInterrupt`` would end any line of the program.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)  # not by a signal, which can be blocked


def _open_missing_streams() -> None:
    """Open /dev/null for each standard stream that the caller closed.

    Otherwise the next file or socket gets the number of the stream, and the stream is None in Python.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is ``fd``
            os.set_inheritable(fd, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _run() -> int:
    """Run the command of ``sys.argv``; return the exit code. Raises ``KeyboardInterrupt``."""
    try:
        try:
            _application(sys.argv[1] if len(sys.argv) > 1 else "")()
        except SystemExit as ended:  # the normal end of a Typer command; 130 after Ctrl-C
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.flush()  # Python 3.11.2 writes a short output only here
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except AgentError as error:
        return _report(error)
    except PermissionError as error:
        if error.filename is None or os.geteuid() == 0 or sys.argv[1:2] in (["run"], ["service"]):
            raise  # not a lack of rights that sudo gives
        return _report(AgentError(failure_at(error.filename, error), code="file_denied", fix=_with_sudo()))
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - the rest of the output is lost already
            os.dup2(nothing.fileno(), 1)
        usage_code = getattr(error.__context__, "exit_code", None)
        if isinstance(usage_code, int) and not isinstance(error.__context__, AgentError):
            return usage_code  # the output of a usage error failed: stderr is full
        return _report(
            StorageError(Text("detail.output_incomplete", reason=reason_of(error)), code="output_failed")
        )
    return 0


def _application(name: str) -> Callable[[], None]:
    """As ``command_table.application``: its import takes the longest, and ``run_process`` handles Ctrl-C."""
    from agent.cli.command_table import application

    return application(name)


def _report(error: AgentError) -> int:
    fix, *fixes = labelled_lines(_fix_of(error), "fix")
    lines = [f"{error.code}: {error}", fix, *translated_lines(error.detail, "why"), *fixes]
    with contextlib.suppress(OSError):  # a full disk or a closed pipe behind stderr keeps the exit code
        for line in lines:
            print(printable(without_url_secrets(line)), file=sys.stderr)  # may quote the other side
    return error.exit_code


def _fix_of(error: AgentError) -> Text:
    """The fix of the error; for a config that this user may not read: run the command with sudo."""
    from agent.health.conditions import fix_for

    if error.code == "config_unreadable" and isinstance(error.__cause__, PermissionError):
        return _with_sudo()
    return fix_for(error)


def _with_sudo() -> Text:
    return Text("fix.run_with_sudo", command=shlex.join(["sudo", "facepay", *sys.argv[1:]]))


def _configure_output() -> None:
    """Replace characters that the output's encoding lacks; escape characters that control a terminal."""
    codecs.register_error(_ERRORS, _plain_characters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # tests use other types
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)
    install()


def _plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each, "?") for each in lacking), error.end


def _exit(code: int) -> NoReturn:
    """End the process with this code, also while threads run.

    An abandoned thread (a hanging check or driver) may run C++ code during the interpreter's shutdown, which
    aborts the process. So with a daemon thread, the process ends without a shutdown.

    The same after Ctrl-C. If it interrupted the execution of a string, which each import of a dataclass does,
    ``python -m`` ends by SIGINT after its shutdown and not with the exit code.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:  # closed pipe or full disk: the flush at exit would print a traceback
        os._exit(code or 1)
    if code == INTERRUPTED or any(thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)
