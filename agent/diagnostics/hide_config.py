"""Redaction of a doctor report: each value of the config is replaced by the name of its key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.config import Config
from agent.diagnostics.redact import Redactor
from agent.texts import fields

_VALUE_MIN_CHARS = 4
# values that are also common words of reports: a report must stay readable
_COMMON_WORDS = frozenset(
    {"demo", "shop", "till", "broker", "site", "terminal", "replay", "stream", "fetch", "info"}
)
_PATH = re.compile(r"(?<![\w/<])/(?:[\w.~+@-]+/?)+")
_PORT = re.compile(r"(?<=>)(?<!config file>):\d{1,5}\b")
_ADDRESS = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{1,4})*::[0-9a-f:]*(?:%\w+)?"
    r"|\b(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}\b",
    re.I,
)
# Only the event of a log line is kept: the rest is text from outside, and may be cut within a value.
_LOG_LINE = re.compile(r"(; last error: )(?:\{.*?\"event\": \"([\w ]+)\"|\w+\s+[\w.]+: (\w+))?.*", re.S)


class ConfigRedactor:
    """Replaces values of one config in reports."""

    def __init__(self, config: Config, path: Path | None) -> None:
        named = dict[str, list[str]]()
        for value, key in _values(config.model_dump(), ""):
            named.setdefault(value.lower(), []).append(key)
        if path is not None:
            named[str(path).lower()] = ["config file"]
        self._names = {value: f"<{', '.join(dict.fromkeys(keys))}>" for value, keys in named.items()}
        self._any = _any_of(self._names)
        # A fix is a text of this product: a value that is a plain word is kept there.
        self._not_words = _any_of([value for value in self._names if not value.isalpha()])
        self._redactor = Redactor({})

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of ``facepay doctor --json``, redacted."""
        redacted = {key: self.text(str(row[key])) for key in ("why", "because")}
        redacted |= {key: self.text(str(row[key]), self._not_words) for key in fields("fix")}
        return {**row, **redacted}

    def text(self, text: str, values: re.Pattern[str] | None = None) -> str:
        """``text`` without values, paths, addresses and ports. ``values``: the pattern of the values."""
        text = _LOG_LINE.sub(lambda found: f"{found[1]}{found[2] or found[3] or ''} …", text)
        text = (values or self._any).sub(lambda found: self._names[found[0].lower()], text)
        text = self._redactor.text(text)
        text = _ADDRESS.sub("<address>", _PATH.sub("<path>", text))
        return _PORT.sub(":<port>", text)


def _any_of(values: Iterable[str]) -> re.Pattern[str]:
    longest = sorted(values, key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in longest) or r"(?!)", re.I)


def _values(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    """(text, key) of every text in a config, and of the host in each url."""
    for key, value in tree.items():
        name = f"{above}{key}"
        match value:
            case Mapping():
                yield from _values(value, f"{name}.")
            case list() | tuple():
                yield from ((each, name) for each in map(str, value) if _is_redacted(each))
            case str() | Path() if _is_redacted(str(value)):
                yield str(value), name
                parts = urlsplit(str(value)) if "://" in str(value) else None
                for part in (parts.netloc, parts.hostname) if parts else ():
                    if part and _is_redacted(part):
                        yield part, name


def _is_redacted(text: str) -> bool:
    return len(text) >= _VALUE_MIN_CHARS and text not in _COMMON_WORDS
