"""All conditions: the faults of a terminal that last longer than one request. Declared data.

Code raises and clears a condition through ``ConditionTracker`` and refers to the condition by its constant in
``conditions_*.py``. A mistyped constant is a type error. ``condition_of`` is the only lookup for a code that
arrives as text, for example in an error.

The same rows are shown in the retained ``state``, in ``facepay`` output, on the page and in the generated
page docs/reference/conditions.md. A new row goes into the file of its part; tests/health/scenarios_*.py
needs a scenario that raises and clears the condition.
"""

from types import ModuleType

from agent.errors import AgentError
from agent.health import (
    conditions_board,
    conditions_camera,
    conditions_compare,
    conditions_mqtt,
    conditions_till,
)
from agent.health.condition import Condition, Severity
from agent.texts import Text, has_text

__all__ = ["CONDITIONS", "PARTS", "Condition", "Severity", "condition_of", "fix_for"]

_FOR_CASHIERS = ("api_code.", "compareface.")  # texts for the person at the till


def _rows(part: ModuleType) -> tuple[Condition, ...]:
    """The constants of a part, in the order of its file."""
    return tuple(each for each in vars(part).values() if isinstance(each, Condition))


PARTS: dict[str, tuple[Condition, ...]] = {
    "camera": _rows(conditions_camera),
    "compare": _rows(conditions_compare),
    "mqtt": _rows(conditions_mqtt),
    "till": _rows(conditions_till),
    "board": _rows(conditions_board),
}
CONDITIONS: dict[str, Condition] = {row.code: row for rows in PARTS.values() for row in rows}


def condition_of(code: str) -> Condition | None:
    """The condition with this code; None for a code that is no condition, e.g. most reasons."""
    return CONDITIONS.get(code)


def fix_for(error: AgentError) -> Text:
    """The fix of an error for a technician: never the text that a cashier reads.

    An answer of the API carries a cashier's text. Its condition, or ``fix.<code>``, has the technician's.
    """
    if not error.fix.key.startswith(_FOR_CASHIERS):
        return error.fix
    known = condition_of(error.code)
    if known is not None:
        return known.fix
    return Text(f"fix.{error.code}") if has_text(f"fix.{error.code}") else error.fix
