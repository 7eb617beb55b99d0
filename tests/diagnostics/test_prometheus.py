"""The alert rules and dashboards for Prometheus and Grafana use metrics that exist, with their labels."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agent.fleet.fleet_exposition import MONITOR_METRICS
from agent.fleet.fleet_metrics import HEALTH_AGE, TERMINAL_LABELS, TERMINAL_METRICS
from agent.fleet.fleet_model import Need
from agent.health.conditions import CONDITIONS
from agent.health.exposition import Metric
from agent.health.metrics import METRICS
from tests.service.kit import files, post, running, slow_machine_config
from tests.service.pictures import photo, plain

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "config" / "prometheus"
DASHBOARD = ROOT / "config" / "grafana" / "compare.json"
FLEET_DASHBOARD = ROOT / "config" / "grafana" / "fleet.json"
DASHBOARDS = sorted((ROOT / "config" / "grafana").glob("*.json"))
RULES_TESTS = [Path(__file__).parent / "rules_test.yml", Path(__file__).parent / "fleet_rules_test.yml"]
FLEET: list[Metric[Any]] = [*TERMINAL_METRICS, HEALTH_AGE, *MONITOR_METRICS]
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\b(?:facepay|process)_[a-z_]+")


@pytest.fixture(scope="module")
def samples() -> Iterator[dict[str, set[str]]]:
    """Sample name to label names, of a service that answered once with success and once with a failure."""
    with running(slow_machine_config()) as service, httpx.Client(trust_env=False) as http:
        post(service, **files(photo("obama_portrait"), photo("obama_podium")))
        post(service, **files(plain(300, 300), photo("obama_portrait")))
        text = http.get(service.url.replace("/face/compare", "/metrics")).text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    yield found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries(dashboard: Path = DASHBOARD) -> list[str]:
    board = json.loads(dashboard.read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_dashboard_of_the_service_queries_its_metrics_and_shows_all(samples: dict[str, set[str]]) -> None:
    queried = {name for query in queries() for name in NAME.findall(query)}
    assert queried <= set(samples), queried - set(samples)
    ends = re.compile(r"_(bucket|sum|count|total|created)$")
    assert {ends.sub("", name) for name in samples} == {ends.sub("", name) for name in queried}


def test_dashboard_of_the_fleet_queries_its_metrics_and_shows_all() -> None:
    queried = {name for query in queries(FLEET_DASHBOARD) for name in NAME.findall(query)}
    assert queried == {metric.name for metric in FLEET}


def test_page_of_the_fleet_lists_each_panel_with_the_number_of_its_queries() -> None:
    page = (ROOT / "docs" / "how-to" / "fleet.md").read_text(encoding="utf-8")
    listed = {
        name: counts.count(",") + 1 for name, counts in re.findall(r"^\| (.+\(\w+\)) \| (.+) \|$", page, re.M)
    }
    board = json.loads(FLEET_DASHBOARD.read_text(encoding="utf-8"))
    assert listed == {f"{each['title']} ({each['type']})": len(each["targets"]) for each in board["panels"]}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_has_one_place_for_each_panel_and_names_its_data_source(dashboard: Path) -> None:
    board = json.loads(dashboard.read_text(encoding="utf-8"))
    variables = {each["name"] for each in board["templating"]["list"]}
    taken = set[tuple[int, int]]()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert columns.stop <= 24 and not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] in {"stat", "table", "timeseries", "state-timeline", "bargauge", "heatmap"}
        ids = [target["refId"] for target in panel["targets"]]
        assert ids and len(set(ids)) == len(ids)
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(each == {"type": "prometheus", "uid": "${source}"} for each in sources)
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables, panel["title"]


def test_queries_use_labels_that_exist(samples: dict[str, set[str]]) -> None:
    declared = (metric.labels for metric in [*METRICS, *FLEET])
    known = set().union(*samples.values(), *declared, TERMINAL_LABELS) | {"instance", "job", "le"}
    for query in [*queries(), *queries(FLEET_DASHBOARD), *(rule["expr"] for rule in rules())]:
        for group in re.findall(r"\{([^}]*)\}|\bby \(([^)]*)\)", query):
            for label in re.findall(r"([a-z_0-9]+)\s*(?:[=!]~?|,|$)", "".join(group)):
                assert label in known, f"{label} in {query}"


def test_rules_use_metrics_that_exist_and_name_a_fix(samples: dict[str, set[str]]) -> None:
    terminal = {metric.name for metric in [*METRICS, *FLEET]}
    for rule in rules():
        assert set(NAME.findall(rule["expr"])) <= set(samples) | terminal, rule["alert"]
        assert rule["annotations"]["summary"] and rule["annotations"]["fix"], rule["alert"]
        for page in re.findall(r"docs/[\w/.-]+\.md", rule["annotations"]["fix"]):
            assert (ROOT / page).is_file(), page


def test_each_condition_raises_one_of_the_alerts() -> None:
    alerts = {re.search(r'severity="(\w+)"', rule["expr"]) for rule in rules()}
    assert {found.group(1) for found in alerts if found} == {each.severity for each in CONDITIONS.values()}


def test_each_need_of_a_terminal_raises_one_alert() -> None:
    """Not ``stopping``, which is short, and not ``nothing``."""
    found = [need for rule in rules() for need in re.findall(r'need=~?"([\w|]+)"\} == 1', rule["expr"])]
    raised = [need for each in found for need in each.split("|")]
    assert sorted(raised) == sorted(set(Need) - {Need.STOPPING, Need.NOTHING})


def test_alertmanager_names_alerts_and_severities_that_exist() -> None:
    config = yaml.safe_load((ROOT / "config" / "alertmanager" / "facepay.yml").read_text(encoding="utf-8"))
    names = {rule["alert"] for rule in rules()}
    matchers = [
        each for rule in config["inhibit_rules"] for key in rule if "matchers" in key for each in rule[key]
    ]
    for matcher in matchers:
        pattern = re.fullmatch(r'alertname=~?"([^"]+)"', matcher)
        assert pattern and any(re.fullmatch(pattern[1], name) for name in names), matcher
    receivers = {each["name"] for each in config["receivers"]}
    assert {rule["labels"]["severity"] for rule in rules()} == receivers


def test_each_alert_has_a_test_of_promtool() -> None:
    tested = {
        test["alertname"]
        for file in RULES_TESTS
        for case in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for test in case["alert_rule_test"]
    }
    assert tested == {rule["alert"] for rule in rules()}


def test_the_jobs_of_the_rules_are_the_jobs_of_the_scrape_config() -> None:
    scrape = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"] for job in scrape["scrape_configs"]}
    assert {job for rule in rules() for job in re.findall(r'job="([^"]+)"', rule["expr"])} == jobs


@pytest.mark.long
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: make promtool, as root")
@pytest.mark.parametrize(
    "words", [("check", "rules", PROMETHEUS / "rules.yml"), ("test", "rules", *RULES_TESTS)]
)
def test_promtool_accepts_the_rules_and_their_alerts(words: tuple[str | Path, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *map(str, words)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed: make promtool, as root")
def test_amtool_accepts_the_config_of_alertmanager() -> None:
    command = ["amtool", "check-config", str(ROOT / "config" / "alertmanager" / "facepay.yml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
