"""How a command begins and ends: words that every terminal can show, and an exit that nothing can spoil."""

from __future__ import annotations

import codecs
import os
import sys
import threading
from typing import NoReturn

from agent.terminal_output import install

_PLAIN = {"✓": "+", "✗": "x", "→": "->", "█": "#", "…": "...", "—": "-", "×": "x", "·": "."}
_ERRORS = "facepay_plain"


def speak_any_encoding() -> None:
    """What a terminal's encoding lacks is shown plainly, and what could command a terminal is escaped."""
    codecs.register_error(_ERRORS, _plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a closed one is None, a test's may be anything
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)
    install()


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each, "?") for each in lacking), error.end


def leave(code: int) -> NoReturn:
    """End with this code, whatever still runs.

    A thread that was given up (a check that never answers, a driver) may be deep in C++ when the interpreter
    is taken down around it: that aborts the process, after all was said. So then nothing is taken down.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:  # nobody reads, or no room: another try at exit would say so in a traceback
        os._exit(code or 1)
    if any(thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)
