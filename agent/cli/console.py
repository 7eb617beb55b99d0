"""Output for a person at a terminal: colours, and a spinner while a command works.

Neither appears in a pipe or on a dumb terminal: there, a command that waits for another machine prints a line
on stderr. NO_COLOR switches the colours off.

The spinner is not rich's: rich prints a line above its spinner only on the stream of the spinner. Here the
spinner is on stderr and the lines are on stdout.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from typing import TextIO

from agent.log import printable
from agent.terminal_output import control

COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2"}
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_S = 0.1
_ERASE = "\r\x1b[2K"


def paint(text: str, colour: str) -> str:
    """The printable text in one of ``COLOURS`` on a terminal; without colour elsewhere and for ``""``."""
    text = printable(text)
    if not colour or not _is_terminal(sys.stdout) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def announce(text: str) -> None:
    """One line on stderr, on a terminal only: the first output of a command that starts slowly."""
    if _is_terminal(sys.stderr):
        print(printable(text), file=sys.stderr, flush=True)


class Spinner:
    """A spinner, the current step (``text``) and the elapsed seconds, in the last line of stderr.

    While the spinner runs, only ``print_out`` may print.
    """

    def __init__(self, text: str, *, in_pipe: bool = False) -> None:
        """``in_pipe``: without a spinner print ``text`` once on stderr, for a wait on another machine."""
        self.text = text
        self._in_pipe = in_pipe
        self._is_visible = _is_terminal(sys.stderr)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._animate, name="spinner", daemon=True)

    def __enter__(self) -> Spinner:
        if self._is_visible:
            self._thread.start()
        elif self._in_pipe:
            print(printable(self.text), file=sys.stderr, flush=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._is_visible:
            self._thread.join()
            self._write(_ERASE)

    def update(self, text: str) -> None:
        """Set the current step."""
        self.text = text

    def print_out(self, line: str, *, stderr: bool = False) -> None:
        """Print a line on stdout or stderr, above the spinner."""
        with self._lock:
            self._write(_ERASE)
            print(line, file=sys.stderr if stderr else sys.stdout, flush=True)

    def _animate(self) -> None:
        frames = itertools.cycle(_FRAMES)
        while not self._ended.wait(_FRAME_S):
            with self._lock:
                line = f"{next(frames)} {self.text}  {time.monotonic() - self._began_s:.0f} s"
                self._write(_ERASE, line[: _columns() - 1])

    def _write(self, sequence: str, text: str = "") -> None:
        if self._is_visible:
            control(sequence, sys.stderr)
            sys.stderr.write(text)
            sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
