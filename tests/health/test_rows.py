"""The shipped table of conditions: complete, in both languages, without circular causes."""

from __future__ import annotations

import importlib

from agent.core.reasons import Reason
from agent.health import conditions_camera
from agent.health.condition import Condition
from agent.health.condition_tracker import visible_conditions
from agent.health.conditions import CONDITIONS, PARTS, Severity, condition_of
from agent.health.conditions_compare import CLEARED_BY_ANSWER, REPORTED_BY_API
from agent.health.conditions_mqtt import MQTT_REFUSED
from tests.texts import en, zh

LONG_MS = 3_600_000


def test_every_row_is_complete() -> None:
    for code, condition in CONDITIONS.items():
        assert code == condition.code and code.replace("_", "").isalpha() and code.islower()
        for name in ("title", "cause", "fix"):
            english, chinese = en(getattr(condition, name)), zh(getattr(condition, name))
            assert english[0].isupper() or english.startswith(("appid", "`"))
            assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese), f"{code}: {name} in Chinese"
        assert 0 <= condition.visible_after_ms <= 60_000, "a fault is shown after a minute at the latest"


def test_no_code_is_declared_twice() -> None:
    assert sum(len(rows) for rows in PARTS.values()) == len(CONDITIONS), "one code, one row, one text"


def test_each_cause_is_declared_and_at_least_as_severe() -> None:
    rows = set(CONDITIONS.values())
    for condition in rows:
        for cause in condition.depends_on:
            assert cause in rows, f"{condition.code} depends on {cause.code}, which is in no ROWS"
            error = cause.severity is Severity.ERROR
            assert error or condition.severity is Severity.WARNING, (
                f"{condition.code} is worse than {cause.code}"
            )
    everything = visible_conditions(dict.fromkeys(CONDITIONS.values(), 0), LONG_MS)
    assert any(not each.because for each in everything)


def test_each_constant_of_a_part_is_in_its_rows_under_the_name_of_its_code() -> None:
    for part, rows in PARTS.items():
        module = importlib.import_module(f"agent.health.conditions_{part}")
        constants = {name: value for name, value in vars(module).items() if isinstance(value, Condition)}
        assert {value.code.upper() for value in constants.values()} == set(constants)
        assert set(rows) == set(constants.values()) and len(rows) == len(constants)


def test_groups_and_reasons_match_the_table() -> None:
    assert {*CLEARED_BY_ANSWER, *REPORTED_BY_API} <= set(PARTS["compare"])
    assert set(REPORTED_BY_API) < set(CLEARED_BY_ANSWER)
    assert set(conditions_camera.ROWS) == set(PARTS["camera"]), "a failed camera clears every other one"
    camera = {each.code for each in conditions_camera.ROWS}
    assert camera & {*Reason} == {"camera_unavailable", "camera_frozen"}


def test_lookup_by_code_finds_conditions_only() -> None:
    assert condition_of("mqtt_refused") is MQTT_REFUSED
    assert condition_of("face_unusable") is None and condition_of("mqtt_refusd") is None
