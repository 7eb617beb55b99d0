"""One run as a JSON file that can be attached to a public report: no name, no address, no path, no picture.

The rows and figures are made by the measurements; no picture is among them. A note may quote an error of a
download, so a note that contains something of this machine is left out. Any other text that does is an error.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.bench.report import Section, write

SHARED = Path(__file__).parent.parent.parent / "dist" / "facepay-bench.json"
_ADDRESS = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b"  # IPv4; a version of four numbers is left out, too
    r"|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b|(?:[0-9a-f]{1,4}:){3,}:?[0-9a-f]"  # hardware, IPv6
    r"|\w+://|\b[\w.]+@[\w.]+"
    r"|(?:/[\w.-]+){2,}",  # a path
    re.IGNORECASE,
)
_LEAST_CHARS = 3  # a shorter name of a user or host occurs in other words


def private_texts() -> tuple[str, ...]:
    """Names of this machine that must not be published: host, user, home directory, working directory."""
    names = [socket.gethostname(), str(Path.cwd()), str(Path.home())]
    with suppress(OSError, KeyError):  # a user without a name
        names.append(getpass.getuser())
    return tuple(name for name in names if len(name) >= _LEAST_CHARS and name != "root")


def is_private(text: str, names: Sequence[str]) -> bool:
    """Whether a text contains an address, a path or one of the names as a word."""
    found = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names)
    return found or _ADDRESS.search(text) is not None


def shareable(sections: Sequence[Section], names: Sequence[str]) -> list[Section]:
    """The sections without private notes. Raises ``ValueError`` for any other private text."""
    kept = [
        replace(section, notes=[note for note in section.notes if not is_private(note, names)])
        for section in sections
    ]
    for text in _texts([vars(section) for section in kept]):
        if is_private(text, names):
            raise ValueError(f"a measurement contains a text of this machine: {text}")
    return kept


def write_shared(
    sections: Sequence[Section], path: Path = SHARED, names: Callable[[], Sequence[str]] = private_texts
) -> None:
    """Write the file. Raises ``ValueError``: then no file is written."""
    write(shareable(sections, names()), path)


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, each in value.items():
                yield from _texts(key)
                yield from _texts(each)
        case list() | tuple():
            for each in value:
                yield from _texts(each)
        case _:
            return
