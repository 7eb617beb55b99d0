"""The expiry level of a certificate, and the conditions and log lines of a terminal at each level."""

from __future__ import annotations

import asyncio

import pytest

from agent.health.condition import Condition
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_mqtt import CERTIFICATE_ENDED
from agent.health.expiry import DAY_MS, EXPIRY_CONDITIONS, ExpiryLevel, days_left, expiry_level
from agent.health.probe_results import CertificateProbe
from agent.root import background_jobs
from agent.root.wiring import BootClock
from tests.health.scenarios_mqtt import certificate_expires_and_is_renewed
from tests.health.stage import Stage

ENDS_S = 1_800_000_000
ENDS_MS = ENDS_S * 1_000
PROBE = CertificateProbe("terminal-1", ENDS_S - 90 * 86_400, ENDS_S)


@pytest.mark.parametrize(
    ("left_ms", "level", "days"),
    [
        pytest.param(30 * DAY_MS + 1, ExpiryLevel.FAR, 30, id="a millisecond too early"),
        pytest.param(30 * DAY_MS, ExpiryLevel.SOON, 30, id="thirty days"),
        pytest.param(7 * DAY_MS + 1, ExpiryLevel.SOON, 7, id="a week and a millisecond"),
        pytest.param(7 * DAY_MS, ExpiryLevel.THIS_WEEK, 7, id="a week"),
        pytest.param(1, ExpiryLevel.THIS_WEEK, 0, id="the last millisecond"),
        pytest.param(0, ExpiryLevel.ENDED, 0, id="the end"),
        pytest.param(-DAY_MS, ExpiryLevel.ENDED, -1, id="yesterday"),
    ],
)
def test_level_and_days_left(left_ms: int, level: ExpiryLevel, days: int) -> None:
    assert expiry_level(ENDS_S, ENDS_MS - left_ms) is level
    assert days_left(ENDS_S, ENDS_MS - left_ms) == days


def test_one_condition_at_a_time_rises_with_the_level_and_clears() -> None:
    conditions, active = ConditionTracker(lambda: 0), list[tuple[Condition, ...]]()
    for days in (40, 20, 5, -1):
        background_jobs.set_expiry_condition(conditions, PROBE, ENDS_MS - days * DAY_MS)
        active.append(conditions.active)
    assert active == [(), *((each,) for each in EXPIRY_CONDITIONS)]
    background_jobs.set_expiry_condition(
        conditions, CertificateProbe("terminal-1", ENDS_S, 2 * ENDS_S), ENDS_MS + DAY_MS
    )
    assert [*conditions.active] == []


def test_unset_clock_changes_nothing() -> None:
    conditions = ConditionTracker(lambda: 0)
    background_jobs.set_expiry_condition(conditions, PROBE, 0)
    assert [*conditions.active] == []
    conditions.raise_(CERTIFICATE_ENDED)
    background_jobs.set_expiry_condition(conditions, PROBE, 0)
    assert [*conditions.active] == [CERTIFICATE_ENDED]


def test_log_has_the_days_and_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    background_jobs.set_expiry_condition(ConditionTracker(lambda: 0), PROBE, ENDS_MS - 5 * DAY_MS)
    (record,) = caplog.records
    assert record.message == "certificate_ends_this_week"
    assert record.facts["days_left"] == 5 and "facepay enrol" in str(record.facts["fix"])  # type: ignore[attr-defined]


async def test_disconnect_by_the_broker_is_a_consequence_of_the_ended_certificate(stage: Stage) -> None:
    async with certificate_expires_and_is_renewed(stage, -1):
        await stage.until(lambda: {*stage.shown()} == {"certificate_ended", "mqtt_unreachable"})
        assert stage.causes() == ["certificate_ended"]
    assert stage.running.till.connection.is_connected


async def test_file_that_is_unreadable_for_a_moment_changes_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with certificate_expires_and_is_renewed(stage, 3):
        await stage.until(lambda: stage.causes() == ["certificate_ends_this_week"])
        path = stage.agent_config().mqtt.cert_file
        assert path is not None
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        await stage.until(lambda: "certificate_unread" in caplog.text)
        assert stage.causes() == ["certificate_ends_this_week"]
        path.write_bytes(whole)


async def test_without_a_client_certificate_the_watcher_ends(stage: Stage) -> None:
    await stage.start()
    async with asyncio.timeout(60):
        await background_jobs.watch_certificate(stage.running, BootClock())
