"""Upgrades of the package, from the files of facepay-after-upgrade (config/apt) and of apt. Reads only.

The agent and `facepay doctor` judge the same files, so a terminal without the newest version of its ring is
visible at the terminal and in the fleet. unattended-upgrades itself reports in its own log only.
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from agent.health.condition import Condition
from agent.health.conditions_board import UPGRADE_FAILED, UPGRADE_MISSING
from agent.texts import Text

UPGRADE_CONDITIONS = (UPGRADE_FAILED, UPGRADE_MISSING)
"""At most one of these is active."""
DAY_S = 86_400
MISSING_AFTER_S = 3 * DAY_S  # unattended-upgrades runs once a day
ENDS_SOON_S = 7 * DAY_S  # `make apt-repo` signs the index for 30 days
INVALID_S = 0  # the end of an index with an invalid date
_UPGRADE_DIR, _APT_LISTS = "var/lib/facepay-upgrade", "var/lib/apt/lists"
_ORIGIN = "Origin: facepay"
_HEAD_BYTES = 4_096  # of an index; its checksums follow and can have 200 kB
_REPORT_MAX_BYTES = 512


class Failure(StrEnum):
    """The first word of the file ``failed``."""

    ROLLED_BACK = "returned"  # the new version was not healthy; the version before is installed and held
    ROLLBACK_FAILED = "return_failed"
    UNHEALTHY = "unhealthy"  # the new version stays
    NOT_KEPT = "not_kept"  # healthy, but apt kept no package for a rollback
    UNKNOWN = "unknown"  # the file is damaged
    UNREADABLE = "unreadable"  # this user cannot read the file or its folder


@dataclass(frozen=True, slots=True)
class UpgradeFacts:
    """The stored facts.

    Attributes:
        failed: the newest upgrade failed so; None: it did not fail.
        installed: the version at that time, or the version that waits for ``candidate``; may be empty.
        unhealthy: the version that was not healthy; empty without a failure.
        candidate: a newer version in the ring that is not installed; empty: there is none.
        candidate_since_s: Unix time since which a newer version waits.
        has_index: apt has a readable index of the ring.
        index_ends_s: Unix time of the earliest end of an index; None: no index has an end; ``INVALID_S``: the
            date of an index is invalid, and apt refuses that index.
    """

    failed: Failure | None = None
    installed: str = ""
    unhealthy: str = ""
    candidate: str = ""
    candidate_since_s: int = 0
    has_index: bool = False
    index_ends_s: int | None = None


def read_upgrades(root: Path = Path("/")) -> UpgradeFacts | None:
    """The facts of this machine; None: it has no apt repository of this product.

    The earliest end counts: apt deletes the indexes of removed sources at the next update.

    Args:
        root: parent of /var. An index or ``waiting`` that this user cannot read counts as absent.
    """
    upgrade_dir, indexes = root / _UPGRADE_DIR, _indexes(root / _APT_LISTS)
    if not indexes and not _is_folder(upgrade_dir):
        return None
    failed, installed, unhealthy = _read_failure(upgrade_dir / "failed")
    candidate, since_s = "", 0
    match (_read_or_none(upgrade_dir / "waiting", _REPORT_MAX_BYTES) or "").split():
        case [version, offered, digits] if digits.isascii() and digits.isdecimal():
            installed, candidate, since_s = installed or version, offered, int(digits)
    ends_s = [end_s for index in indexes if (end_s := _valid_until_s(index)) is not None]
    end_s = min(ends_s, default=None)
    return UpgradeFacts(failed, installed, unhealthy, candidate, since_s, bool(indexes), end_s)


def judge_upgrades(facts: UpgradeFacts, unix_s: int) -> tuple[Condition, Text] | None:
    """The condition and its reason; None: this terminal follows its ring."""
    if facts.failed is not None:
        return UPGRADE_FAILED, _failure_text(facts)
    if facts.candidate and unix_s - facts.candidate_since_s >= MISSING_AFTER_S:
        days = (unix_s - facts.candidate_since_s) // DAY_S
        why = Text(
            "why.sys.upgrades.waiting", candidate=facts.candidate, installed=facts.installed, days=days
        )
        return UPGRADE_MISSING, why
    if not facts.has_index:
        return UPGRADE_MISSING, Text("why.sys.upgrades.no_index")
    if facts.index_ends_s == INVALID_S:
        return UPGRADE_MISSING, Text("why.sys.upgrades.index_invalid")
    if facts.index_ends_s is not None and facts.index_ends_s <= unix_s:
        days = (unix_s - facts.index_ends_s) // DAY_S
        return UPGRADE_MISSING, Text("why.sys.upgrades.index_ended", days=days)
    return None


def _failure_text(facts: UpgradeFacts) -> Text:
    versions = {"installed": facts.installed, "other": facts.unhealthy}
    match facts.failed:
        case Failure.ROLLED_BACK | Failure.ROLLBACK_FAILED:
            return Text(f"why.sys.upgrades.{facts.failed.value}", **versions)
        case Failure.UNHEALTHY | Failure.NOT_KEPT:
            return Text(f"why.sys.upgrades.{facts.failed.value}", installed=facts.installed)
        case Failure.UNREADABLE:
            return Text("why.sys.upgrades.unreadable")
        case Failure.UNKNOWN | None:
            return Text("why.sys.upgrades.unknown")
        case _:
            assert_never(facts.failed)


def _read_failure(path: Path) -> tuple[Failure | None, str, str]:
    try:
        text = _read_file(path, _REPORT_MAX_BYTES)
    except FileNotFoundError:
        return None, "", ""
    except OSError:
        return Failure.UNREADABLE, "", ""
    match text.split():
        case [word, installed, *others] if word in set(Failure):
            return Failure(word), installed, " ".join(others)
        case _:
            return Failure.UNKNOWN, "", ""


def _indexes(lists: Path) -> list[str]:
    """The heads of the signed indexes of this product's repository."""
    try:
        heads = [_read_or_none(path, _HEAD_BYTES) or "" for path in sorted(lists.glob("*InRelease"))]
    except OSError:
        return []
    return [head for head in heads if _ORIGIN in head.splitlines()]


def _valid_until_s(index: str) -> int | None:
    """Unix time of ``Valid-Until``; None: the index has no end."""
    for line in index.splitlines():
        name, _, value = line.partition(":")
        if name == "Valid-Until":
            try:
                return max(INVALID_S, int(parsedate_to_datetime(value.strip()).timestamp()))
            except (ValueError, OverflowError):
                return INVALID_S
    return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _read_or_none(path: Path, max_bytes: int) -> str | None:
    """The beginning of a file; None when it is absent or not readable."""
    try:
        return _read_file(path, max_bytes)
    except OSError:
        return None


def _read_file(path: Path, max_bytes: int) -> str:
    """The beginning of a file. Raises ``OSError``."""
    with path.open("rb") as file:
        return file.read(max_bytes).decode("ascii", "replace")
