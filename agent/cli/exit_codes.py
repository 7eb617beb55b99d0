"""Begin and end of a command: output in any terminal encoding, and a reliable exit code."""

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
    """Replace characters that the output's encoding lacks; escape characters that control a terminal."""
    codecs.register_error(_ERRORS, _plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a closed stream is None; tests use other types
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)
    install()


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each, "?") for each in lacking), error.end


def leave(code: int) -> NoReturn:
    """End the process with this code, also while threads run.

    An abandoned thread (a hanging check or driver) may run C++ code during the interpreter's shutdown, which
    aborts the process. So with a daemon thread, the process ends without a shutdown.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:  # closed pipe or full disk: the flush at exit would print a traceback
        os._exit(code or 1)
    if any(thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)
