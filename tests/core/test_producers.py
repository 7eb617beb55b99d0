"""Every code of a closed list has a producer in the package; a code that nothing produces is removed."""

from __future__ import annotations

import ast
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

import agent
from agent.compare.compareface import table as compareface_table
from agent.core.reasons import Decision, FrameReason, Guidance, Reason, Refusal

AGENT = Path(agent.__file__).parent


@cache
def members_used() -> frozenset[str]:
    """``Class.MEMBER`` for each attribute in the package, the declarations left out."""
    return frozenset(
        f"{node.value.id}.{node.attr}"
        for path in AGENT.rglob("*.py")
        if path != AGENT / "core" / "reasons.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    )


@pytest.mark.parametrize("kind", [Decision, Reason, Refusal, FrameReason, Guidance])
def test_every_code_has_a_producer(kind: type[StrEnum]) -> None:
    by_table = {row.reason for row in compareface_table().values()}
    missing = [
        member.name
        for member in kind
        if f"{kind.__name__}.{member.name}" not in members_used() and member not in by_table
    ]
    assert missing == []
