"""Values of the privacy audit: one file or setting with its finding."""

from __future__ import annotations

import pwd
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from agent.log import printable
from agent.texts import Text, named

UNKNOWN = Text("fix.file_origin_unknown")
UNREADABLE = Text("why.privacy.unreadable")


_NAMED = ("level", "finding", "remedy")  # written in JSON by name or in each language


class Level(IntEnum):
    OK = 0
    UNREADABLE = 1  # for this user
    WARN = 2
    FAIL = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One file, folder or setting. ``remedy`` is set from ``WARN`` on."""

    path: str
    purpose: str
    personal: str = ""
    kept: str = ""
    size_bytes: int = 0
    age_s: int | None = None
    owner: str = ""
    mode: str = ""
    level: Level = Level.OK
    finding: Text | None = None
    remedy: Text | None = None

    def marked(self, finding: Text, remedy: Text | None = UNKNOWN, level: Level = Level.WARN) -> Item:
        return replace(self, level=level, finding=finding, remedy=remedy)

    def facts(self) -> dict[str, object]:
        values = {name: getattr(self, name) for name in self.__slots__ if name not in _NAMED}
        texts = named("finding", self.finding) | named("fix", self.remedy)
        return {**values, "level": self.level.name.lower(), **texts}


def shown(path: Path) -> str:
    """A path for a terminal window. A file name, e.g. in /tmp, can contain control characters."""
    return printable(str(path))


def unreadable(path: Path) -> Item:
    return Item(shown(path), "").marked(UNREADABLE, None, Level.UNREADABLE)


def owner_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
