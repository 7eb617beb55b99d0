"""Text for a terminal: what could command the terminal is escaped, in one place for every command.

Ids, reasons and names come from tills, brokers and APIs. Written as they are, ESC ] 52 sets the clipboard, a
bidirectional mark turns a line around, U+009B moves the cursor. ``main`` replaces stdout and stderr by
``SafeText``; the sequences of our own go through ``control``, and colours through a closed list.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

_COLOUR = re.compile(r"\x1b\[(?:0|[1-4]|3[1-7]|9[1-6])?(?:;(?:[1-4]|3[1-7]|9[1-6])){0,3}m")
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e]")
_COMMANDING = frozenset({"Cc", "Cf", "Zl", "Zp"})  # control, format (bidirectional marks), separators


def escaped(text: str) -> str:
    """``text`` with each commanding character as ``\\uXXXX``, which is valid inside a JSON string as well.

    Line feeds, tabs and the colours that ``paint`` and the help screens use stay.
    """
    if not _SUSPECT.search(text):
        return text
    parts, end = list[str](), 0
    for colour in _COLOUR.finditer(text):
        parts += [_SUSPECT.sub(_one, text[end : colour.start()]), colour[0]]
        end = colour.end()
    return "".join([*parts, _SUSPECT.sub(_one, text[end:])])


def _one(found: re.Match[str]) -> str:
    if unicodedata.category(found[0]) not in _COMMANDING:
        return found[0]
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class SafeText:
    """A text stream that escapes what is written to it. All else is that of the stream below."""

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
    """From now on stdout and stderr of this process are ``SafeText``. Safe to call twice."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, SafeText):
            setattr(sys, name, SafeText(stream))


def below(stream: TextIO) -> TextIO:
    """The stream itself, for sequences of our own: a live line, a screen that is drawn again."""
    return stream.below if isinstance(stream, SafeText) else stream


def control(sequence: str, stream: TextIO) -> None:
    """Write a sequence of our own as it is."""
    below(stream).write(sequence)
