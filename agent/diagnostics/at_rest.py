"""What this product keeps on disk, as declared data: one row per kind of file.

docs/reference/privacy.md shows it.

A file that no row describes is a finding of `facepay privacy-audit`; whoever adds a file adds its row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

DAY_S = 86_400


class Place(StrEnum):
    STATE = "storage.directory"
    CONFIG = "/etc/facepay-agent"
    RUNTIME = "/run/facepay-agent"


@dataclass(frozen=True, slots=True)
class Kind:
    """``pattern``: of the path below its place; ``*`` is any part of one name.

    ``forbidden``: mode bits that may not be set. ``age_max_s``: older is a finding; None: as old as it gets.
    """

    place: Place
    pattern: str
    purpose: str
    personal: str  # what it tells of a person
    kept: str  # how long
    forbidden: int = 0o077
    age_max_s: int | None = None


_NOTHING = "nothing"
_S, _C, _R = Place.STATE, Place.CONFIG, Place.RUNTIME

KINDS: tuple[Kind, ...] = (
    Kind(
        _S,
        "outbox.sqlite3*",
        "no result is lost, no question is paid for twice",
        "ids of request, sale and till; url and hash of the enrolled photo, no photo; the decision",
        "storage.retention_hours after its end, at most storage.max_results"
        " (request ids: until the next start)",
    ),
    Kind(
        _S,
        "outbox.sqlite3.damaged-*",
        "results before the damage, for the back office",
        "as the outbox",
        "until a person deletes it; named after 30 days",
        age_max_s=30 * DAY_S,
    ),
    Kind(
        _S,
        "last-verification.json*",
        "`facepay why`",
        "request id; reason and quality of each frame, no picture, no landmark",
        "until the next verification",
    ),
    Kind(
        _S,
        "traces/*.jsonl",
        "`facepay trace`: decide it again; off by default",
        "request id; places of face and five landmarks in the frame, no picture, no embedding",
        "trace.keep_days, at most 7 days",
        age_max_s=8 * DAY_S,
    ),
    Kind(_S, "signing-key.pem", "signs every result", _NOTHING, "until `facepay keys rotate`"),
    Kind(_S, "rotation.json", "the old key vouches for the new one", _NOTHING, "until the next rotation"),
    Kind(_S, "tills/*/*.pem", "public keys of tills", _NOTHING, "until `facepay keys distrust`"),
    Kind(
        _S,
        "operators/*/*.pem",
        "public keys that may ask for a remote diagnosis",
        _NOTHING,
        "until `facepay keys distrust --operator`",
    ),
    Kind(_S, "machine", "tells a copied card from this one: a hash", _NOTHING, "until `facepay keys bind`"),
    Kind(_S, "*.new", "a file being written", _NOTHING, "milliseconds; named after an hour", age_max_s=3_600),
    Kind(_S, "status.sock", "`facepay status`: a socket, holds nothing", _NOTHING, "while it runs", 0o007),
    Kind(_R, "status.sock", "`facepay status`: a socket, holds nothing", _NOTHING, "while it runs", 0o007),
    Kind(_C, "agent.toml*", "the agent's config", _NOTHING, "for good", 0o002),
    Kind(_C, "service.toml*", "the compare service's config", _NOTHING, "for good", 0o002),
    Kind(_C, "credentials/*", "secrets that systemd hands over", _NOTHING, "for good"),
    Kind(_C, "fleet/lock", "one rollout at a time; empty", _NOTHING, "for good"),
    Kind(_C, "fleet/record.json", "number of the newest bundle, ring", _NOTHING, "for good", 0o002),
    Kind(_C, "fleet/last-good.toml*", "`facepay config rollback`", _NOTHING, "until the next bundle", 0o002),
    Kind(
        _C, "fleet/operator/*.pem", "whose bundles are taken", _NOTHING, "until `config trust --only`", 0o002
    ),
    Kind(_C, ".agent.toml.*", "a config being written", _NOTHING, "milliseconds", age_max_s=3_600),
    Kind(_C, "*.pem", "certificates", _NOTHING, "until they are renewed", 0o002),
    Kind(_C, "*.crt", "certificates", _NOTHING, "until they are renewed", 0o002),
)


def kind_of(place: Place, relative: str) -> Kind | None:
    """The row for a file; None when nobody knows it. ``relative``: below its place, with slashes."""
    parts = relative.split("/")
    # the narrowest first: outbox.sqlite3* would take outbox.sqlite3.damaged-*, too
    rows = sorted((each for each in KINDS if each.place is place), key=lambda each: -len(each.pattern))
    for each in rows:
        wanted = each.pattern.split("/")
        if each.pattern == "*.new":  # beside any file of ours
            wanted = ["*"] * (len(parts) - 1) + wanted
        if len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted)):
            return each
    return None
