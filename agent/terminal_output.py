"""Escaping of text for a terminal: the one place for every command.

Ids, reasons and names come from tills, brokers and APIs. Unescaped, ESC ] 52 sets the clipboard, a
bidirectional mark reverses a line, U+009B moves the cursor. ``main`` replaces stdout and stderr by
``SafeText``. The agent's own sequences go through ``control``, colours through a closed list.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

_COLOUR = re.compile(r"\x1b\[(?:0|[1-4]|3[1-7]|9[1-6])?(?:;(?:[1-4]|3[1-7]|9[1-6])){0,3}m")
_NOT_PLAIN = re.compile(r"[^\n\t\x20-\x7e]")
_CONTROL = frozenset({"Cc", "Cf", "Zl", "Zp"})  # control, format (bidirectional marks), separators


def escaped(text: str) -> str:
    """``text`` with each control character as ``\\uXXXX``, which is valid inside a JSON string as well.

    Line feeds, tabs and the colours of ``paint`` and the help screens stay.
    """
    if not _NOT_PLAIN.search(text):
        return text
    parts, end = list[str](), 0
    for colour in _COLOUR.finditer(text):
        parts += [_NOT_PLAIN.sub(_escaped_character, text[end : colour.start()]), colour[0]]
        end = colour.end()
    return "".join([*parts, _NOT_PLAIN.sub(_escaped_character, text[end:])])


def _escaped_character(match: re.Match[str]) -> str:
    if unicodedata.category(match[0]) not in _CONTROL:
        return match[0]
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class SafeText:
    """A text stream that escapes all written text. Other attributes are those of the stream ``below``."""

    def __init__(self, below: TextIO) -> None:
        self.below = below

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text, not {type(text).__name__}")
        self.below.write(escaped(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def install() -> None:
    """Replace stdout and stderr of this process by ``SafeText``. Safe to call twice."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, SafeText):
            setattr(sys, name, SafeText(stream))


def below(stream: TextIO) -> TextIO:
    """The unescaped stream, for the agent's own sequences: a live line, a redrawn screen."""
    return stream.below if isinstance(stream, SafeText) else stream


def control(sequence: str, stream: TextIO) -> None:
    """Write one of the agent's own sequences without escaping."""
    below(stream).write(sequence)
