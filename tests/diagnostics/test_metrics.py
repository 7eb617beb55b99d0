"""Metrics in Prometheus format, and the same numbers in the MQTT message ``health``."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.config import Config
from agent.control.status import health_facts, status_document
from agent.health.conditions import CONDITIONS
from agent.health.counters import BOUNDS_MS, Histogram
from agent.health.metrics import METRICS, render
from agent.health.process import process_facts
from tests.control.test_status import now
from tests.docs import metrics_page

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "config" / "grafana" / "terminal.json"
TILL = {"unacknowledged": 2, "expired_unacknowledged": 3, "withheld": 4, "inbound_dropped": 5}


def tree(*codes: str, config: Config | None = None) -> dict[str, Any]:
    made = replace(now(*codes), till=TILL, process=process_facts())
    for result in list(made.counters.recent):
        made.counters.record_result(result)
    return status_document(config or Config(), made)


def read(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Sample name and labels → number, parsed by prometheus_client."""
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def one(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_a_collector_reads_the_numbers_with_their_units() -> None:
    found = read(render(tree("camera_covered")))
    assert one(found, "facepay_uptime_seconds") == 3_700
    assert one(found, "facepay_frames_total", reason="idle") == 100
    assert one(found, "facepay_frames_total", reason="blurred") == 0, "present from the start"
    assert one(found, "facepay_results_total", decision="match", reason="same_person") == 6
    assert one(found, "facepay_results_total", decision="undecided", reason="clock") == 0
    assert one(found, "facepay_api_calls_total") == 2
    assert one(found, "facepay_api_sent_bytes_total") == 40_000
    assert one(found, "facepay_mqtt_connected") == 1
    assert one(found, "facepay_outbox_results") == 2
    assert one(found, "facepay_outbox_withheld_total") == 4
    assert one(found, "facepay_camera_frame_age_seconds") == pytest.approx(0.04)
    assert one(found, "facepay_condition", code="camera_covered", severity="warning") == 1
    assert one(found, "facepay_condition", code="clock", severity="error") == 0
    assert one(found, "process_resident_memory_bytes") > 10**6
    assert one(found, "process_open_fds") >= 3


def test_histogram_last_bucket_equals_the_count() -> None:
    found = read(render(tree()))
    for phase, bound, upto in (
        ("api", "0.1", 0),
        ("api", "0.25", 3),
        ("total", "0.25", 0),
        ("total", "0.5", 3),
    ):
        assert one(found, "facepay_verification_seconds_bucket", phase=phase, le=bound) == upto
    assert one(found, "facepay_verification_seconds_bucket", phase="api", le="+Inf") == 3
    assert one(found, "facepay_verification_seconds_count", phase="api") == 3
    assert one(found, "facepay_verification_seconds_sum", phase="api") == pytest.approx(0.42)
    assert one(found, "facepay_verification_seconds_count", phase="encode") == 0, "never measured"


def test_histogram_bound_is_inclusive_and_last_bucket_is_infinite() -> None:
    histogram = Histogram()
    for spent_ms in (0, BOUNDS_MS[0], BOUNDS_MS[0] + 1, BOUNDS_MS[-1], BOUNDS_MS[-1] + 1):
        histogram.add(spent_ms)
    counted = histogram.snapshot()
    assert (counted["count"], counted["sum_ms"]) == (4, BOUNDS_MS[0] * 2 + 1 + BOUNDS_MS[-1] * 2 + 1)
    assert (counted["le_ms"][str(BOUNDS_MS[0])], counted["le_ms"][str(BOUNDS_MS[-1])]) == (1, 3)


def test_every_condition_and_every_metric_is_there() -> None:
    found = read(render(tree()))
    assert {dict(labels)["code"] for name, labels in found if name == "facepay_condition"} == set(CONDITIONS)
    families = {family.name for family in text_string_to_metric_families(render(tree()).decode())}
    assert families == {metric.name.removesuffix("_total") for metric in METRICS}


def test_render_omits_unknown_values() -> None:
    made = tree()
    made["camera"] |= {"frame_age_ms": None, "mean_luma": None}
    text = render(made)
    assert b"frame_age" not in text and b"mean_luma" not in text
    assert b"facepay_camera_frames_per_second 9.8" in text


def test_render_label_with_quotes_is_escaped() -> None:
    made = tree()
    made["version"] = '1"} 1\nfacepay_results_total{decision="match\\'
    found = read(render(made))
    infos = [dict(labels) for name, labels in found if name == "facepay_terminal_info"]
    assert [info["version"] for info in infos] == [made["version"]]


def test_render_contains_no_sale_answer_or_secret() -> None:
    config = Config.model_validate(
        {
            "compare": {"secret_id": "AKIDSECRET", "url": "https://user:hunter2@api.example/x?token=t0ken"},
            "camera": {"kind": "stream", "source": "rtsp://u:camera-password@10.0.0.9/1"},
        }
    )
    text = render(tree(*CONDITIONS, config=config)).decode()
    for word in ("secret-sale", "session-of-the-api", "93.0", "AKID", "hunter2", "t0ken", "camera-password"):
        assert word not in text


def test_health_carries_the_same_numbers() -> None:
    made = replace(now("camera_covered"), till=TILL, process=process_facts())
    whole, health = status_document(Config(), made), health_facts(made)
    for name, value in whole["counters"].items():
        assert health[name] == value
    assert health["camera"] == {k: v for k, v in whole["camera"].items() if k != "kind"}
    assert (health["till"], health["process"]) == (whole["till"], whole["process"])
    assert health["conditions"] == [each["code"] for each in whole["conditions"]]
    assert len(json.dumps(health)) < 8_000, "a message a minute from each terminal stays small"


def test_the_page_is_current() -> None:
    text = metrics_page.PAGE.read_text(encoding="utf-8")
    assert text == metrics_page.page(), "run: python -m tests.docs.metrics_page"


def _expressions(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["expr"])] if "expr" in node else []
        own += [str(node["query"])] if isinstance(node.get("query"), str) else []
        return own + [each for value in node.values() for each in _expressions(value)]
    return [each for value in node for each in _expressions(value)] if isinstance(node, list) else []


def _series() -> set[str]:
    ends = ("_bucket", "_sum", "_count")
    return {
        f"{metric.name}{end}" for metric in METRICS for end in (ends if metric.kind == "histogram" else ("",))
    }


def test_dashboard_queries_existing_metrics_and_shows_all_metrics() -> None:
    queried = {
        name
        for expression in _expressions(json.loads(DASHBOARD.read_text(encoding="utf-8")))
        for name in re.findall(r"\b(?:facepay|process)_[a-z_]+", expression)
    }
    assert queried <= _series(), queried - _series()
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in queried}
    assert {metric.name for metric in METRICS} - shown == {"process_max_fds"}


def test_the_dashboards_labels_are_the_metrics() -> None:
    labels = {label for metric in METRICS for label in metric.labels} | {"le", "instance"}
    for expression in _expressions(json.loads(DASHBOARD.read_text(encoding="utf-8"))):
        for group in re.findall(r"\{([^}]*)\}|\bby \(([^)]*)\)", expression):
            for label in re.findall(r"([a-z_0-9]+)\s*(?:[=!]~?|,|$)", "".join(group)):
                assert label in labels, f"{label} in {expression}"


@pytest.mark.long
def test_promtool_accepts_the_metrics() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: make promtool installs Debian's prometheus, as root")
    text = render(tree("clock"))
    done = subprocess.run([promtool, "check", "metrics"], check=False, input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
