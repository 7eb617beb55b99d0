"""Logging: one line per event with an event name and key=value facts, or as JSON.

``log.info("ask_failed", extra=facts(code=15, ask=2))``. A frequently repeated event is counted, not written.
Bytes, and facts with the name of a secret or a picture, are never written.
"""

import json
import logging
import os
import re
import stat
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

_NEVER = ("secret", "password", "token", "authorization", "image", "jpeg", "pixels", "private")
_REDACTED = "[redacted]"


def facts(**values: object) -> dict[str, dict[str, object]]:
    """Facts for a log record's ``extra``."""
    return {"facts": values}


def bounded_facts(**values: object) -> dict[str, object]:
    """As ``facts``, for an event whose rate is bounded elsewhere: no rate limit drops the line."""
    return {"facts": values, "is_bounded": True}


def printable(text: str) -> str:
    """The text on one line: line ends and control characters for a terminal window are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


# Compiled by ``re`` at the first url: most processes write none.
# Greedy up to the last "@" before white space or a quotation mark: a password can hold any other character.
_USER = r"(?i)\b([a-z][a-z0-9+.-]{1,15}://)[^\s\"'<>]*@"
_QUERY = r"(?i)\b([a-z][a-z0-9+.-]{1,15}://[^\s\"'<>?#]*)[?#][^\s\"'<>]+"


def without_url_secrets(text: str) -> str:
    """The text with user, password, query and fragment of every url in it replaced by three dots."""
    if "://" not in text:
        return text
    return re.sub(_QUERY, r"\1?…", re.sub(_USER, r"\1…@", text))


_WHOLE_USER = r"(?is)\A([a-z][a-z0-9+.-]*://).*@"
_WHOLE_QUERY = r"(?is)\A([a-z][a-z0-9+.-]*://[^?#]*)[?#].+"


def whole_url_without_secrets(url: str) -> str:
    """The same for a text that is one url as a whole, so that quotation marks and spaces do not end it."""
    return re.sub(_WHOLE_QUERY, r"\1?…", re.sub(_WHOLE_USER, r"\1…@", url))


def redact(name: str, value: object) -> object:
    """A value for a log line: no bytes, no secret, at most 300 characters before escapes.

    The value can be text from outside, which must not be able to start a new line.
    """
    if any(part in name.lower() for part in _NEVER):
        return _REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = without_url_secrets(str(value))
    return printable(text if len(text) <= 300 else text[:297] + "...")


class Sparing(logging.Filter):
    """A rate limit for each event of each sender, so that no fault can fill the journal.

    An event is a logger name, a level and a message as in the source. The sender is the till, operator or
    client in the facts. A flood of one sender hides no line of another: ``left_out`` in the next written line
    counts the dropped lines of this sender only. A sender's name comes from outside and can be false: all
    senders of an event together have the rate of ``SENDERS`` senders. At most 14 400 lines a day for one
    event of one sender, ten times that for all senders.
    """

    BURST = 60
    REFILL_S = 6.0
    SENDERS = 10  # that can log their full rate at the same time
    EVENTS_MAX = 500  # in memory; the event with the longest pause is removed first

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._events: OrderedDict[tuple[object, ...], tuple[float, float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written. The handler's lock is held."""
        if getattr(record, "is_bounded", False):
            return True
        event = (record.name, record.levelno, str(record.msg)[:200])
        values = getattr(record, "facts", {})
        sender = str(values.get("till") or values.get("operator") or values.get("client") or "")[:64]
        if not sender:
            return self._passes(record, event, 1)
        return self._passes(record, (*event, sender), 1) and self._passes(None, event, self.SENDERS)

    def _passes(self, record: logging.LogRecord | None, key: tuple[object, ...], share: int) -> bool:
        now_s, max_tokens = self._now_s(), float(self.BURST * share)
        tokens, at_s, dropped = self._events.pop(key, (max_tokens, now_s, 0))
        tokens = min(max_tokens, tokens + (now_s - at_s) * share / self.REFILL_S)
        passes = tokens >= 1.0
        if passes and dropped and record is not None:
            record.facts = {**getattr(record, "facts", {}), "left_out": dropped}
        self._events[key] = (tokens - 1.0, now_s, 0) if passes else (tokens, now_s, dropped + 1)
        while len(self._events) > self.EVENTS_MAX:
            self._events.popitem(last=False)
        return passes


class _Formatter(logging.Formatter):
    def __init__(self, *, json_lines: bool) -> None:
        super().__init__()
        self._json_lines = json_lines

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, Any] = getattr(record, "facts", {})
        clean = {name: redact(name, value) for name, value in values.items()}
        event = printable(without_url_secrets(record.getMessage()))
        trace = ""
        if record.exc_info:  # its last lines quote the exception, which can quote a url or a message
            text = without_url_secrets(self.formatException(record.exc_info))
            trace = "\n" + "\n".join(printable(line) for line in text.split("\n"))
        if self._json_lines:
            moment = datetime.fromtimestamp(record.created, UTC)  # lines are also read in other time zones
            at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            row = {"at": at, "level": record.levelname.lower(), "event": event, **clean}
            if trace:
                row["traceback"] = trace.strip()
            return json.dumps(row, ensure_ascii=False)
        values_text = " ".join(f"{name}={value}" for name, value in clean.items())
        start = f"{record.levelname.lower():7} {record.name.removeprefix('agent.')}"
        return f"{start}: {event} {values_text}".rstrip() + trace


class _SocketHandler(logging.StreamHandler[TextIO]):
    """Writes to the journal's socket and never waits: a stuck journal must not block the event loop.

    A line that does not fit is dropped; ``dropped`` counts such lines, and the next line starts with the
    count. Only for a socket: its file description belongs to this process alone, so no other program gets
    a non-blocking stream.
    """

    dropped = 0

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        os.set_blocking(stream.fileno(), False)

    def emit(self, record: logging.LogRecord) -> None:
        lost = ""
        if self.dropped:  # the line before may be cut, so the count starts on a line of its own
            lost = f"\nwarning log: {self.dropped} lines dropped, the journal did not read\n"
        try:
            line = (lost + self.format(record) + "\n").encode("utf-8", "backslashreplace")
            is_whole = os.write(self.stream.fileno(), line) == len(line)
        except BlockingIOError:
            is_whole = False
        except Exception:
            self.handleError(record)
            return
        self.dropped = 0 if is_whole else self.dropped + 1


def _handler(stream: TextIO) -> logging.StreamHandler[TextIO]:
    try:
        is_socket = stat.S_ISSOCK(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # a test's stream without a descriptor
        is_socket = False
    return _SocketHandler(stream) if is_socket else logging.StreamHandler(stream)


def setup(level: str = "info", *, json_lines: bool = False) -> None:
    """Log to stderr. Libraries log from warning up; httpx never, because its lines contain urls."""
    handler = _handler(sys.stderr)
    handler.setFormatter(_Formatter(json_lines=json_lines))
    handler.addFilter(Sparing())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_level(level)
    for noisy in ("httpx", "httpcore", "rumqttd"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def set_level(level: str) -> None:
    """Set the level of this package; the level of libraries stays."""
    logging.getLogger("agent").setLevel(level.upper())
