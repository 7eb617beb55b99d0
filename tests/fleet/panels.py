"""The panels of a dashboard with their queries evaluated by a Prometheus, as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx

FLEET = Path(__file__).parents[2] / "config" / "grafana" / "fleet.json"


def evaluated(url: str, http: httpx.Client, dashboard: Path = FLEET) -> dict[str, list[int]]:
    """For each panel the number of series of each of its queries. Raises: Prometheus refuses a query."""
    series: dict[str, list[int]] = {}
    for name, query in _queries(dashboard):
        answer = http.get(f"{url}/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{name}: {query}: {answer.text}"
        series.setdefault(name, []).append(len(answer.json()["data"]["result"]))
    return series


def table(series: dict[str, list[int]]) -> str:
    rows = [f"| {name} | {', '.join(map(str, counts))} |\n" for name, counts in series.items()]
    return "| panel | series of each query |\n|---|---|\n" + "".join(rows)


def _queries(dashboard: Path) -> Iterator[tuple[str, str]]:
    """Title and kind of each panel with each query, every variable as "all"."""
    for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$site", ".*").replace("$terminal", ".*")
            yield f"{panel['title']} ({panel['type']})", query
