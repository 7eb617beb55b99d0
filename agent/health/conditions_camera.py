"""Conditions of the camera. What they share: without pictures of a living scene nobody can be asked about."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

# Why there is no picture: one of these at a time. They are told apart where the camera is opened.
NO_PICTURE = (
    Condition(
        code="camera_unavailable",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_stalled",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_busy",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_absent",
        visible_after_ms=1_000,
    ),
    Condition(
        code="camera_denied",
        visible_after_ms=1_000,
    ),
)
_NONE = tuple(row.code for row in NO_PICTURE)

ROWS = (
    *NO_PICTURE,
    Condition(
        code="camera_frozen",
        depends_on=_NONE,
    ),
    Condition(
        code="camera_covered",
        severity=Severity.WARNING,
        depends_on=(*_NONE, "camera_frozen"),
        visible_after_ms=3_000,  # a hand, a cloth
    ),
)
