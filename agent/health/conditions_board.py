"""Conditions of the terminal itself: models, disk, config."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

ROWS = (
    Condition(
        code="model_unusable",
    ),
    Condition(
        code="storage_unavailable",
    ),
    Condition(
        code="config_refused",
        severity=Severity.WARNING,
    ),
    Condition(
        code="outbox_reset",
        severity=Severity.WARNING,
    ),
    Condition(
        code="machine_changed",
    ),
)
