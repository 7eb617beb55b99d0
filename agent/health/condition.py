"""The value type of a condition. The rows are in ``conditions_*.py``; ``conditions.py`` collects the rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.texts import Text

FORGET_MS = 3_600_000  # a fault that ended verifications or requests: without a further one, it is over


class Severity(StrEnum):
    WARNING = "warning"  # the terminal serves requests; an operator must check the cause
    ERROR = "error"  # the terminal cannot serve requests until the condition clears


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One row. The texts of the row are under ``condition.<code>`` in the message files.

    Attributes:
        depends_on: possible causes. While one of these holds, this condition is a consequence.
        visible_after_ms: age at which the condition is shown; a fault that recovers earlier stays hidden.
    """

    code: str
    severity: Severity = Severity.ERROR
    depends_on: tuple[Condition, ...] = ()
    visible_after_ms: int = 0

    @property
    def title(self) -> Text:
        """The symptom for an operator, one line."""
        return Text(f"condition.{self.code}.title")

    @property
    def cause(self) -> Text:
        """The usual causes."""
        return Text(f"condition.{self.code}.cause")

    @property
    def fix(self) -> Text:
        """The action of the operator."""
        return Text(f"condition.{self.code}.fix")
