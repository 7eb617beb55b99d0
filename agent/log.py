"""Logging: an event name plus key=value facts, one line each; JSON lines on request.

``log.info("ask_failed", extra=facts(code=15, ask=2))``. A redaction filter drops what must never be
written: bytes, and any fact whose name says that it is a secret or a picture.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

_NEVER = ("secret", "password", "token", "authorization", "image", "jpeg", "pixels", "private")
_REDACTED = "[redacted]"


def facts(**values: object) -> dict[str, dict[str, object]]:
    """Facts for a log record's ``extra``."""
    return {"facts": values}


def redact(name: str, value: object) -> object:
    """A value fit for a log line: no bytes, nothing under a secret's name, at most 300 characters."""
    if any(word in name.lower() for word in _NEVER):
        return _REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = str(value)
    return text if len(text) <= 300 else text[:297] + "..."


class _Formatter(logging.Formatter):
    def __init__(self, *, json_lines: bool) -> None:
        super().__init__()
        self._json_lines = json_lines

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = getattr(record, "facts", {})
        clean = {name: redact(name, value) for name, value in values.items()}
        event = record.getMessage()
        trace = "\n" + self.formatException(record.exc_info) if record.exc_info else ""
        if self._json_lines:
            row = {"at": self.formatTime(record), "level": record.levelname.lower(), "event": event, **clean}
            if trace:
                row["traceback"] = trace.strip()
            return json.dumps(row, ensure_ascii=False)
        words = " ".join(f"{name}={value}" for name, value in clean.items())
        return (
            f"{record.levelname.lower():7} {record.name.removeprefix('agent.')}: {event} {words}".rstrip()
            + trace
        )


def setup(level: str = "info", *, json_lines: bool = False) -> None:
    """Send our log to stderr. Libraries log from warning up; httpx never (its lines carry urls)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(json_lines=json_lines))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_level(level)
    for noisy in ("httpx", "httpcore", "rumqttd"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def set_level(level: str) -> None:
    """Of our own log; the libraries' stays as it is."""
    logging.getLogger("agent").setLevel(level.upper())
