"""How near the end of a certificate is, and what the terminal says about it, when."""

from __future__ import annotations

import asyncio

import pytest

from agent.health.condition_tracker import ConditionTracker
from agent.health.expiry import CODES, DAY_MS, ExpiryLevel, days_left, expiry_level
from agent.health.probe_results import CertificateProbe
from agent.root import watchers
from agent.root.wiring import BootClock
from tests.health.stage import Stage
from tests.health.stories_mqtt import its_certificate_is_renewed

ENDS_S = 1_800_000_000
ENDS_MS = ENDS_S * 1_000
LOOK = CertificateProbe("terminal-1", ENDS_S - 90 * 86_400, ENDS_S)


@pytest.mark.parametrize(
    ("left_ms", "said", "days"),
    [
        pytest.param(30 * DAY_MS + 1, ExpiryLevel.FAR, 30, id="a millisecond too early"),
        pytest.param(30 * DAY_MS, ExpiryLevel.SOON, 30, id="thirty days"),
        pytest.param(7 * DAY_MS + 1, ExpiryLevel.SOON, 7, id="a week and a bit"),
        pytest.param(7 * DAY_MS, ExpiryLevel.THIS_WEEK, 7, id="a week"),
        pytest.param(1, ExpiryLevel.THIS_WEEK, 0, id="its last moment"),
        pytest.param(0, ExpiryLevel.ENDED, 0, id="the end"),
        pytest.param(-DAY_MS, ExpiryLevel.ENDED, -1, id="yesterday"),
    ],
)
def test_how_near_the_end_is(left_ms: int, said: ExpiryLevel, days: int) -> None:
    assert expiry_level(ENDS_S, ENDS_MS - left_ms) is said
    assert days_left(ENDS_S, ENDS_MS - left_ms) == days


def holding(conditions: ConditionTracker) -> list[str]:
    return [each.code for each in conditions.active]


def test_one_thing_at_a_time_is_said_ever_more_urgently_and_taken_back() -> None:
    conditions, heard = ConditionTracker(lambda: 0), list[list[str]]()
    for days in (40, 20, 5, -1):
        watchers.say_how_near(conditions, LOOK, ENDS_MS - days * DAY_MS)
        heard.append(holding(conditions))
    assert heard == [[], *([code] for code in CODES)]
    watchers.say_how_near(conditions, CertificateProbe("terminal-1", ENDS_S, 2 * ENDS_S), ENDS_MS + DAY_MS)
    assert holding(conditions) == []


def test_a_clock_that_was_never_set_changes_nothing() -> None:
    conditions = ConditionTracker(lambda: 0)
    watchers.say_how_near(conditions, LOOK, 0)
    assert holding(conditions) == []
    conditions.raise_("certificate_ended")
    watchers.say_how_near(conditions, LOOK, 0)
    assert holding(conditions) == ["certificate_ended"]


def test_the_log_has_the_days_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    watchers.say_how_near(ConditionTracker(lambda: 0), LOOK, ENDS_MS - 5 * DAY_MS)
    (said,) = caplog.records
    assert said.message == "certificate_ends_this_week"
    assert said.facts["days_left"] == 5 and "facepay enrol" in str(said.facts["fix"])  # type: ignore[attr-defined]


async def test_a_broker_that_hangs_up_for_it_is_its_consequence(stage: Stage) -> None:
    async with its_certificate_is_renewed(stage, -1):
        await stage.until(lambda: {*stage.shown()} == {"certificate_ended", "mqtt_unreachable"})
        assert stage.causes() == ["certificate_ended"]
    assert stage.running.till.link.connected


async def test_a_file_that_cannot_be_read_for_a_moment_changes_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with its_certificate_is_renewed(stage, 3):
        await stage.until(lambda: stage.causes() == ["certificate_ends_this_week"])
        path = stage.agent_config().mqtt.cert_file
        assert path is not None
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        await stage.until(lambda: "certificate_unread" in caplog.text)
        assert stage.causes() == ["certificate_ends_this_week"]
        path.write_bytes(whole)


async def test_without_a_certificate_of_its_own_nobody_watches(stage: Stage) -> None:
    await stage.start()
    async with asyncio.timeout(5):
        await watchers.watch_certificate(stage.running, BootClock())
