"""The exposition of the fleet: values, closed label values, and a bounded number of series."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.core.reasons import Decision, Reason
from agent.fleet.fleet_exposition import MONITOR_METRICS, FleetExposition, FleetTotals
from agent.fleet.fleet_metrics import HEALTH_AGE, SERIES_MAX, TERMINAL_LABELS, TERMINAL_METRICS
from agent.fleet.fleet_model import Fleet, LeftOut, Need
from agent.fleet.terminal_reports import MessageProblem, TerminalStatus
from agent.health.conditions import CONDITIONS
from agent.health.exposition import Metric
from tests.fleet.fleet_messages import health_of, state_of
from tests.fleet.test_fleet_model import ERRORS, WARNINGS, Monitored, hostile_messages

TOTALS = FleetTotals(True, 1, 100, 10, {}, 0, 1, {"rss_bytes": 5, "cpu_s": 0.5, "open_files": 7})
CLOSED: dict[str, set[str]] = {
    "need": set(Need),
    "status": set(TerminalStatus),
    "code": set(CONDITIONS),
    "severity": {"error", "warning"},
    "problem": set(MessageProblem),
    "profile": {"demo", "shop"},
    "decision": set(Decision),
    "reason": set(Reason) | set(LeftOut),
    "phase": {"api", "total"},
}


def read(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def exposed(monitored: Monitored, exposition: FleetExposition | None = None) -> dict[Any, float]:
    return read((exposition or FleetExposition()).render(monitored.rows(), TOTALS, monitored.now_s))


def one(found: dict[Any, float], name: str, terminal: str = "a", **labels: str) -> float | None:
    place = {"site": "shop-1", "terminal": terminal}
    return found.get((f"facepay_fleet_terminal_{name}", frozenset((place | labels).items())))


def test_collector_reads_the_numbers_of_state_and_health() -> None:
    monitored = Monitored()
    monitored.get(state_of("a", "degraded", conditions=[ERRORS[0], WARNINGS[0], "x"], accepted_risks=["r"]))
    monitored.get(health_of("a"))
    monitored.now_s += 12
    found = exposed(monitored)
    assert one(found, "need", need="fault") == one(found, "status", status="degraded") == 1
    assert one(found, "condition", code=ERRORS[0], severity="error") == 1
    assert one(found, "condition", code=WARNINGS[0], severity="warning") == 1
    assert one(found, "conditions_left_out") == one(found, "accepted_risks") == 1
    assert (one(found, "version"), one(found, "profile", profile="shop")) == (2_000, 1)
    assert (one(found, "uptime_seconds"), one(found, "health_age_seconds")) == (3_600, 12)
    assert one(found, "results_total", decision="match") == 4
    assert one(found, "results_total", decision="no_match") == 0, "present from the start"
    assert one(found, "results_total", decision="undecided") == 1
    assert one(found, "undecided_total", reason="no_face") == 1
    assert (one(found, "refusals_total"), one(found, "api_calls_total")) == (1, 4)
    assert one(found, "median_seconds", phase="api") == pytest.approx(0.221)
    assert one(found, "camera_frame_age_seconds") == pytest.approx(0.064)
    assert one(found, "outbox_results") == one(found, "outbox_expired_total") == 0
    assert found["process_cpu_seconds_total", frozenset()] == 0.5
    assert found["facepay_fleet_messages_left_out_total", frozenset({("reason", "topic_invalid")})] == 0


def test_terminal_without_usable_messages_has_a_need_and_no_numbers() -> None:
    monitored = Monitored()
    monitored.get((state_of("a")[0], b"x"))
    found = exposed(monitored)
    assert one(found, "need", need="message_damaged") == one(found, "problem", problem="not_json") == 1
    names = {name for name, labels in found if ("terminal", "a") in labels}
    assert names == {"facepay_fleet_terminal_need", "facepay_fleet_terminal_problem"}


def test_stored_lines_follow_each_change() -> None:
    monitored, exposition = Monitored(), FleetExposition()
    for terminal in ("a", "b", "c"):
        monitored.get(state_of(terminal))
    for message in (
        health_of("b"),
        state_of("c", "offline"),
        (state_of("a")[0], b""),
        state_of("b", version="1.0.0"),
    ):
        exposed(monitored, exposition)
        monitored.get(message)
        monitored.now_s += 1
        assert exposed(monitored, exposition) == exposed(monitored)


def test_one_terminal_with_everything_stays_within_its_series() -> None:
    monitored = Monitored()
    codes = [*CONDITIONS, *(f"code_{number}" for number in range(1_000))]
    monitored.get(state_of("a", "degraded", conditions=codes))
    results = {f"{decision}/{reason}": 1 for decision in Decision for reason in Reason}
    monitored.get(health_of("a", results=results))
    monitored.get((state_of("a")[0], state_of("a", "degraded", conditions=codes)[1]))
    series = [labels for _, labels in exposed(monitored) if ("terminal", "a") in labels]
    assert 50 < len(series) <= SERIES_MAX


@settings(max_examples=25)
@given(st.lists(hostile_messages(), max_size=30))
def test_any_messages_give_closed_label_values_and_bounded_series(
    messages: list[tuple[str, bytes, bool, float]],
) -> None:
    now_s, exposition = 0.0, FleetExposition()
    fleet = Fleet(now_s, terminals_max=4)
    fleet.note_subscribed(now_s)
    places = set()
    for topic, payload, retained, pause_s in messages:
        fleet.note_message(topic, payload, retained=retained, now_s=now_s)
        now_s += pause_s
    totals = replace(TOTALS, left_out=fleet.left_out)
    found = read(exposition.render(fleet.rows(now_s), totals, now_s))
    for _, labels in found:
        for label, value in labels:
            if label in TERMINAL_LABELS:
                places.add(value)
            else:
                assert value in CLOSED[label]
    assert len(found) <= 4 * SERIES_MAX + 3 * len(MONITOR_METRICS)
    assert len(places) <= 5 and all(len(each) <= 64 for each in places)


def test_names_are_unique_and_each_label_is_of_a_closed_list() -> None:
    metrics: list[Metric[Any]] = [*TERMINAL_METRICS, HEALTH_AGE, *MONITOR_METRICS]
    assert len({metric.name for metric in metrics}) == len(metrics)
    assert {label for metric in metrics for label in metric.labels} == set(CLOSED)


@pytest.mark.long  # needs the program of Debian's prometheus
def test_promtool_accepts_the_metrics_of_the_fleet() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: make promtool installs Debian's prometheus, as root")
    monitored = Monitored()
    monitored.get(state_of("a", "degraded", conditions=[ERRORS[0]]))
    monitored.get(health_of("a"))
    text = FleetExposition().render(monitored.rows(), TOTALS, monitored.now_s)
    done = subprocess.run([promtool, "check", "metrics"], check=False, input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
