"""All conditions: the faults of a terminal that last longer than one request. Declared data.

Code raises and clears a condition through ``ConditionTracker`` and refers to the condition by its constant in
``conditions_*.py``. A mistyped constant is a type error. ``condition_of`` is the only lookup for a code that
arrives as text, for example in an error.

The same rows are shown in the retained ``state``, in ``facepay`` output, on the page and in the generated
page docs/reference/conditions.md. A new row goes into the file of its part; tests/health/scenarios_*.py
needs a scenario that raises and clears the condition.
"""

from __future__ import annotations

from agent.health import conditions_board, conditions_camera, conditions_compare, conditions_mqtt
from agent.health.condition import Condition, Severity

__all__ = ["CONDITIONS", "PARTS", "Condition", "Severity", "condition_of"]

PARTS: dict[str, tuple[Condition, ...]] = {
    "camera": conditions_camera.ROWS,
    "compare": conditions_compare.ROWS,
    "mqtt": conditions_mqtt.ROWS,
    "board": conditions_board.ROWS,
}
CONDITIONS: dict[str, Condition] = {row.code: row for rows in PARTS.values() for row in rows}


def condition_of(code: str) -> Condition | None:
    """The condition with this code; None for a code that is no condition, e.g. most reasons."""
    return CONDITIONS.get(code)
