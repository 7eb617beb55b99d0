"""What can be wrong with a terminal for longer than one request, as declared data: one row each.

A condition is raised and cleared by the composition root's code only through ``Tracker``; shown the same way
in the retained ``state``, in ``facepay`` output, on the page and in docs/reference/conditions.md, which is
written from these rows. A new row goes into the file of its part; tests/health/stories_*.py needs a story
that provokes it and mends it.
"""

from __future__ import annotations

from agent.health import conditions_board, conditions_camera, conditions_compare, conditions_mqtt
from agent.health.condition import Condition, Severity

__all__ = ["CONDITIONS", "PARTS", "Condition", "Severity"]

PARTS: dict[str, tuple[Condition, ...]] = {
    "camera": conditions_camera.ROWS,
    "compare": conditions_compare.ROWS,
    "mqtt": conditions_mqtt.ROWS,
    "board": conditions_board.ROWS,
}
CONDITIONS: dict[str, Condition] = {row.code: row for rows in PARTS.values() for row in rows}
