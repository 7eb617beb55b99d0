"""What a condition is: values only. The rows stand in ``conditions_*.py``; ``conditions.py`` has them all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.texts import Text


class Severity(StrEnum):
    WARNING = "warning"  # serves, but somebody should look
    ERROR = "error"  # cannot serve until it heals or is mended


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One row. Its texts stand under ``condition.<code>`` in the message files.

    Attributes:
        depends_on: codes. While one of them holds, this condition is its consequence and no cause of its own.
        visible_after_ms: shown to people only after this time; a fault that heals by itself stays hidden.
    """

    code: str
    severity: Severity = Severity.ERROR
    depends_on: tuple[str, ...] = ()
    visible_after_ms: int = 0

    @property
    def title(self) -> Text:
        """What an operator sees, one line."""
        return Text(f"condition.{self.code}.title")

    @property
    def cause(self) -> Text:
        """The usual causes."""
        return Text(f"condition.{self.code}.cause")

    @property
    def fix(self) -> Text:
        """What the operator can do."""
        return Text(f"condition.{self.code}.fix")
