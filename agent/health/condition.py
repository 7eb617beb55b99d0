"""What a condition is: values only. The rows stand in ``conditions_*.py``; ``conditions.py`` has them all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    WARNING = "warning"  # serves, but somebody should look
    ERROR = "error"  # cannot serve until it heals or is mended


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One line each of what is seen (``title``), what is usually behind it, and what to do, en and zh.

    Attributes:
        depends_on: codes. While one of them holds, this one is its consequence, and no cause of its own.
        visible_after_ms: shown to people only when it has lasted so long; what heals by itself stays quiet.
    """

    code: str
    title: str
    title_zh: str
    cause: str
    cause_zh: str
    fix: str
    fix_zh: str
    severity: Severity = Severity.ERROR
    depends_on: tuple[str, ...] = ()
    visible_after_ms: int = 0
