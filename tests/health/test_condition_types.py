"""A mistyped condition is a type error: mypy checks a snippet against the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mypy import api

from tests.type_check import copied_cache

HEAD = """
from agent.health import conditions_mqtt
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import condition_of

tracker = ConditionTracker(lambda: 0)
"""
MISTAKES = {
    'tracker.raise_("mqtt_refusd")': 'incompatible type "str"; expected "Condition"',
    'tracker.clear("mqtt_refused")': 'incompatible type "str"; expected "Condition"',
    "tracker.raise_(conditions_mqtt.MQTT_REFUSD)": 'has no attribute "MQTT_REFUSD"',
    'tracker.raise_(condition_of("mqtt_refused"))': 'expected "Condition"',
}


def test_mistyped_condition_is_a_type_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    snippet = tmp_path / "snippet.py"
    right = "tracker.raise_(conditions_mqtt.MQTT_REFUSED)\n"
    snippet.write_text(HEAD + right + "\n".join(MISTAKES) + "\n")
    limit = sys.getrecursionlimit()
    try:
        report, problems, status = api.run(["--cache-dir", str(copied_cache(tmp_path)), str(snippet)])
    finally:
        sys.setrecursionlimit(limit)  # mypy raises it, and a later test reads deeply nested JSON
    assert (status, problems) == (1, ""), report
    first = HEAD.count("\n") + 2
    for number, expected in enumerate(MISTAKES.values(), first):
        (line,) = [each for each in report.splitlines() if each.startswith(f"{snippet}:{number}: error:")]
        assert expected in line
    assert report.count(" error: ") == len(MISTAKES), report
