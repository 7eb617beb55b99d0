"""What a person sees on a terminal: colours, and a sign of life while something takes its time.

Both only where somebody looks: not when piped, not on a dumb terminal; no colour with NO_COLOR set.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from agent.log import printable
from agent.terminal_output import control

COLOURS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_SIGNS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURN_S = 0.1
_WIPE = "\r\x1b[2K"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in one of ``COLOURS``, where somebody sees it; else the text. It commands nothing else."""
    text, stream = printable(text), stream or sys.stdout
    if not colour or not _is_seen(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def _is_seen(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Spinner:
    """A turning sign, what is being waited for, and for how long, in the last line of stderr.

    ``say`` prints a line on stdout above it, ``note`` one on stderr; they alone may print while it turns.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._seen = _is_seen(sys.stderr)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._turn, name="waiting", daemon=True)

    def __enter__(self) -> Spinner:
        if self._seen:
            self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._seen:
            self._thread.join()
            self._write(_WIPE)

    def say(self, line: str) -> None:
        with self._lock:
            self._write(_WIPE)
            print(line, flush=True)

    def about(self, text: str) -> None:
        """From now on this is waited for."""
        self.text = text

    def note(self, line: str) -> None:
        with self._lock:
            self._write(_WIPE)
            print(line, file=sys.stderr, flush=True)

    def _turn(self) -> None:
        for turn in range(2**31):
            if self._over.wait(_TURN_S):
                return
            with self._lock:
                waited_s = time.monotonic() - self._began_s
                line = f"{_SIGNS[turn % len(_SIGNS)]} {self.text}  {waited_s:.0f} s"
                self._write(_WIPE, line[: _columns() - 1])

    def _write(self, sequence: str, text: str = "") -> None:
        if self._seen:
            control(sequence, sys.stderr)
            sys.stderr.write(text)
            sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
