"""Conditions of the compare service, its account, and what calls cost. One success proves most wrong."""

from __future__ import annotations

from agent.health.condition import Condition, Severity

ROWS = (
    Condition(
        code="compare_unreachable",
    ),
    Condition(
        code="compare_slow",
    ),
    Condition(
        code="compare_credentials",
        depends_on=("clock",),  # a signature of the wrong moment is refused, too
    ),
    Condition(
        code="compare_account",
    ),
    Condition(
        code="compare_config",
    ),
    Condition(
        code="clock",
    ),
    Condition(
        code="cost_high",
        severity=Severity.WARNING,
        depends_on=("cost_limit",),
    ),
    Condition(
        code="cost_limit",
    ),
)
