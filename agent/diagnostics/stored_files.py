"""The files that this product keeps on disk: one row per kind of file, shown in docs/reference/privacy.md.

A file without a row is a finding of `facepay privacy-audit`: add a row here for each new kind of file. An
``AuditItem`` of the audit is one file or setting with its finding.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from agent.log import printable
from agent.texts import Text, json_fields

DAY_S = 86_400
UNKNOWN = Text("fix.file_origin_unknown")
UNREADABLE = Text("why.privacy.unreadable")
_NAMED = ("level", "finding", "remedy")  # in JSON: by name, or one field per language


class FileLocation(StrEnum):
    STATE = "storage.directory"
    CONFIG = "/etc/facepay-agent"
    RUNTIME = "/run/facepay-agent"


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file. ``pattern``: of the path below its location; ``*`` is any part of one name.

    ``forbidden``: mode bits that must not be set. ``age_max_s``: an older file is a finding; None: no limit.
    """

    location: FileLocation
    pattern: str
    purpose: str
    kept: str  # how long
    forbidden: int = 0o077
    personal: str = "nothing"  # the personal data in it
    age_max_s: int | None = None


_S, _C, _R = FileLocation.STATE, FileLocation.CONFIG, FileLocation.RUNTIME
_SOCKET = "`facepay status`: a socket, without content", "while the agent runs", 0o007
_PURGED = "until the package is purged"

FILE_KINDS: tuple[FileKind, ...] = (
    FileKind(
        _S,
        "outbox.sqlite3*",
        "no result is lost, no API call is paid twice",
        "storage.retention_hours after its end, at most storage.max_results"
        " (request ids: until the next start)",
        personal="ids of request, sale and till; url and hash of the enrolled photo, no photo; the decision",
    ),
    FileKind(
        _S,
        "outbox.sqlite3.damaged-*",
        "results before the damage, for the back office",
        "until a person deletes it; named after 30 days",
        personal="as the outbox",
        age_max_s=30 * DAY_S,
    ),
    FileKind(
        _S,
        "last-verification.json*",
        "`facepay why`",
        "until the next verification",
        personal="request id; reason and quality of each frame, no picture, no landmark",
    ),
    FileKind(
        _S,
        "traces/*.jsonl",
        "`facepay trace`: replay the decision; off by default",
        "trace.keep_days, at most 7 days",
        personal="request id; places of face and five landmarks in the frame, no picture, no embedding",
        age_max_s=8 * DAY_S,
    ),
    FileKind(
        _S,
        "liveness/*.onnx",
        "the passive liveness model; `facepay liveness import`",
        "until a person deletes it",
    ),
    FileKind(_S, "signing-key.pem", "signs every result", "until `facepay keys rotate`"),
    FileKind(_S, "rotation.json", "the old key's signature of the new key", "until the next rotation"),
    FileKind(_S, "tills/*/*.pem", "public keys of tills", "until `facepay keys distrust`"),
    FileKind(
        _S,
        "operators/*/*.pem",
        "public keys of operators that may request a remote diagnosis",
        "until `facepay keys distrust --operator`",
    ),
    FileKind(_S, "machine", "detects a copied card: a hash", "until `facepay keys bind`"),
    FileKind(
        _S,
        "page-sessions.json*",
        "a login of the diagnostics page survives a restart of the agent: digests",
        "8 hours after the last login, or until the next one",
    ),
    FileKind(
        _S,
        "display.html",
        "opens the screen for the payer: an address with a key, which systemd passes to the browser",
        _PURGED,
    ),
    FileKind(_S, "*.new", "a file being written", "milliseconds; named after an hour", age_max_s=3_600),
    FileKind(_S, "agent.lock", "one agent per state directory: its process id", _PURGED),
    FileKind(_S, "status.sock", *_SOCKET),
    FileKind(_R, "status.sock", *_SOCKET),
    FileKind(_C, "agent.toml*", "the agent's config", _PURGED, 0o002),
    FileKind(_C, "agent.d/*", "this terminal's keys of the config", _PURGED, 0o002),
    FileKind(_C, "service.toml*", "the compare service's config", _PURGED, 0o002),
    FileKind(_C, "service.d/*", "this machine's keys of the compare service's config", _PURGED, 0o002),
    FileKind(_C, "credentials/*", "secrets that systemd passes to the units", _PURGED),
    FileKind(_C, "fleet/lock", "one rollout at a time; empty", _PURGED),
    FileKind(_C, "fleet/record.json", "number of the newest bundle, ring", _PURGED, 0o002),
    FileKind(_C, "fleet/last-good.toml*", "`facepay config rollback`", "until the next bundle", 0o002),
    FileKind(
        _C,
        "fleet/operator/*.pem",
        "public keys that sign config bundles",
        "until `config trust --only`",
        0o002,
    ),
    FileKind(_C, ".agent.toml.*", "a config being written", "milliseconds", age_max_s=3_600),
    FileKind(_C, "agent.candidate", "a config being checked", "seconds", 0o002, age_max_s=3_600),
    FileKind(_C, "*.pem", "certificates", "until they are renewed", 0o002),
    FileKind(_C, "*.crt", "certificates", "until they are renewed", 0o002),
)


def kind_of(location: FileLocation, relative: str) -> FileKind | None:
    """The row of a file; None for an unknown file. ``relative``: the path below the location."""
    parts = relative.split("/")
    # the longest pattern first: outbox.sqlite3* also matches outbox.sqlite3.damaged-*
    rows = sorted((row for row in FILE_KINDS if row.location is location), key=lambda row: -len(row.pattern))
    for row in rows:
        pattern = row.pattern.split("/")
        if row.pattern == "*.new":  # in any folder
            pattern = ["*"] * (len(parts) - 1) + pattern
        if len(pattern) == len(parts) and all(map(fnmatchcase, parts, pattern)):
            return row
    return None


class Level(IntEnum):
    OK = 0
    UNREADABLE = 1  # for this user
    WARN = 2
    FAIL = 3


@dataclass(frozen=True, slots=True)
class AuditItem:
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

    def with_finding(
        self, finding: Text, remedy: Text | None = UNKNOWN, level: Level = Level.WARN
    ) -> AuditItem:
        return replace(self, level=level, finding=finding, remedy=remedy)

    def facts(self) -> dict[str, object]:
        values = {name: getattr(self, name) for name in self.__slots__ if name not in _NAMED}
        texts = json_fields("finding", self.finding) | json_fields("fix", self.remedy)
        return {**values, "level": self.level.name.lower(), **texts}


def printable_path(path: Path) -> str:
    """A path for a terminal window. A file name, e.g. in /tmp, can contain control characters."""
    return printable(str(path))


def unreadable(path: Path) -> AuditItem:
    """The item of a file that this user may not read."""
    return AuditItem(printable_path(path), "").with_finding(UNREADABLE, None, Level.UNREADABLE)


def owner_name(uid: int) -> str:
    """The name of a user; the number when the system has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
