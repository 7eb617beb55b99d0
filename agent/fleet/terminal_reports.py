"""Decoder of ``state`` and ``health`` of a terminal, for a monitor of many terminals. Pure.

The bytes are hostile. A report has a bounded size, whatever the message contains: codes of closed lists,
numbers in a range, and one short version. A code that is in no list is counted and not stored. Unknown keys
are ignored, because v1 of the contract may gain fields.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.core import strict_json
from agent.core.reasons import Reason
from agent.health.conditions import CONDITIONS
from agent.health.metrics import outcome

MESSAGE_MAX_BYTES = 32 * 1024  # a state with a key rotation has 2 kB, a health 8 kB
CONDITIONS_MAX = 16  # of one terminal; the others are counted
NUMBER_MAX = 2**53
OUTCOMES = tuple(outcome(reason) for reason in Reason)
PROFILES = ("demo", "shop")

_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])[0-9A-Za-z+.~-]{0,24}", re.ASCII)


class TerminalStatus(StrEnum):
    """``status`` of the till contract."""

    ONLINE = "online"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    OFFLINE = "offline"


class MessageProblem(StrEnum):
    """The reason why the newest message of a terminal cannot be used."""

    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    SCHEMA_UNKNOWN = "schema_unknown"
    OTHER_TERMINAL = "other_terminal"  # site and terminal differ from those in the topic
    STATUS_UNKNOWN = "status_unknown"
    HEALTH_RETAINED = "health_retained"  # a retained health would be delivered as new at each connection


class UnusableMessageError(Exception):
    """A message that is no report. ``problem``: the reason."""

    def __init__(self, problem: MessageProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StateReport:
    """Content of one ``state``.

    Attributes:
        conditions: at most ``CONDITIONS_MAX`` codes of ``CONDITIONS``, in the order of the message.
        conditions_left_out: codes that are unknown, repeated, or beyond ``CONDITIONS_MAX``.
        version: empty when the terminal sent none, or a text that is no version.
        profile: one of ``PROFILES``; empty when unknown.
        accepted_risks: their number.
    """

    status: TerminalStatus
    conditions: tuple[str, ...] = ()
    conditions_left_out: int = 0
    version: str = ""
    profile: str = ""
    accepted_risks: int = 0


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Content of one ``health``.

    Attributes:
        numbers: by path in the message, e.g. ``("till", "withheld")``; only paths of ``NUMBERS``, each 0 or
            more. A number that is absent or invalid is not in the mapping.
        results: verifications by outcome; only outcomes of ``OUTCOMES`` that occurred.
        refusals: the sum of all refusals.
        left_out: numbers that are invalid, and outcomes that are unknown.
    """

    numbers: Mapping[tuple[str, ...], float]
    results: Mapping[str, float]
    refusals: float
    left_out: int


NUMBERS: tuple[tuple[str, ...], ...] = (
    ("uptime_s",),
    ("calls",),
    ("bytes_sent",),
    ("till", "unacknowledged"),
    ("till", "expired_unacknowledged"),
    ("till", "withheld"),
    ("till", "inbound_dropped"),
    ("camera", "fps"),
    ("camera", "frame_age_ms"),
    ("camera", "mean_luma"),
    ("timings_p50_ms", "api"),
    ("timings_p50_ms", "total"),
    ("process", "rss_bytes"),
    ("process", "cpu_s"),
)


def read_state(payload: bytes, site: str, terminal: str) -> StateReport:
    """Decode a ``state`` from the topic of this terminal. Raises ``UnusableMessageError``."""
    tree = _tree(payload, "facepay.state/1", site, terminal)
    try:
        status = TerminalStatus(tree["status"])
    except (KeyError, ValueError, TypeError):
        raise UnusableMessageError(MessageProblem.STATUS_UNKNOWN) from None
    codes = tree.get("conditions")
    listed = codes if isinstance(codes, list) else []
    known_codes = dict.fromkeys(code for code in listed if isinstance(code, str) and code in CONDITIONS)
    codes = tuple(known_codes)[:CONDITIONS_MAX]
    version, profile, risks = tree.get("version"), tree.get("profile"), tree.get("accepted_risks")
    return StateReport(
        status,
        codes,
        len(listed) - len(codes),
        version if isinstance(version, str) and _VERSION.fullmatch(version) else "",
        profile if isinstance(profile, str) and profile in PROFILES else "",
        len(risks) if isinstance(risks, list) else 0,
    )


def read_health(payload: bytes, site: str, terminal: str) -> HealthReport:
    """Decode a ``health`` from the topic of this terminal. Raises ``UnusableMessageError``."""
    tree = _tree(payload, "facepay.health/1", site, terminal)
    numbers, left_out = dict[tuple[str, ...], float](), 0
    for path in NUMBERS:
        value = _at(tree, path)
        if _is_number(value):
            numbers[path] = value
        elif value is not None:
            left_out += 1
    counted = _counts(tree.get("results"))
    results = {name: number for name in OUTCOMES if (number := counted.get(name))}
    left_out += sum(name not in OUTCOMES for name in counted)
    return HealthReport(numbers, results, sum(_counts(tree.get("refusals")).values()), left_out)


def version_number(version: str) -> int | None:
    """A version as one number that grows: 1.2.3 is 1 002 003. None for an empty text."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    major, minor, patch = map(int, match.groups())
    return (major * 1_000 + minor) * 1_000 + patch


def _tree(payload: bytes, schema: str, site: str, terminal: str) -> dict[str, Any]:
    if len(payload) > MESSAGE_MAX_BYTES:
        raise UnusableMessageError(MessageProblem.TOO_LARGE)
    tree = strict_json.json_object(payload)
    if tree is None:
        raise UnusableMessageError(MessageProblem.NOT_JSON)
    if tree.get("schema") != schema:
        raise UnusableMessageError(MessageProblem.SCHEMA_UNKNOWN)
    if (tree.get("site"), tree.get("terminal")) != (site, terminal):
        raise UnusableMessageError(MessageProblem.OTHER_TERMINAL)
    return tree


def _at(tree: object, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _counts(tree: object) -> dict[str, float]:
    """The valid numbers of an object of counts."""
    return (
        {name: count for name, count in tree.items() if _is_number(count)} if isinstance(tree, dict) else {}
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= NUMBER_MAX
