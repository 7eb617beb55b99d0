"""docs/reference/metrics.md, written from the table of metrics: ``python -m tests.docs.metrics_page``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.fleet.fleet_exposition import MONITOR_METRICS
from agent.fleet.fleet_metrics import (
    HEALTH_AGE,
    SERIES_MAX,
    TERMINAL_LABELS,
    TERMINAL_METRICS,
)
from agent.health.counters import BOUNDS_MS
from agent.health.exposition import Metric
from agent.health.metrics import METRICS

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "metrics.md"

INTRO = """# Metrics

This page is generated from the code (`python -m tests.docs.metrics_page`). A test fails when the page is
out of date.

The metrics are Prometheus text. The source is the status document that `facepay status` prints. The metrics
contain numbers and codes only, and no data about a sale, a payer or an image. Every counter starts at 0
when the process starts. Every series of a closed list exists from the start.

Sources:

- `facepay metrics --config FILE` on the terminal, for the textfile collector of node_exporter:
  `facepay metrics > /var/lib/prometheus/node-exporter/facepay.prom.new && mv …`
- `GET /metrics` of the [diagnostics page](../how-to/page.md), where `[page]` enables the page; Prometheus
  sends the token of the page (`authorization: {credentials_file: …}`)
- the MQTT message `health`, every 60 s ([till contract](till-contract.md)), for a terminal that accepts no
  inbound connection

One scrape takes 0.7 ms of the agent and returns 15 kB (status document and text; median of 200 scrapes on 2
cores of an x86 server; not measured on a Raspberry Pi).

Dashboards for Grafana: [terminals](../../config/grafana/terminal.json),
[the fleet](../../config/grafana/fleet.json), [compare services](../../config/grafana/compare.json). The
metrics of the compare service: [compare contract](compare-contract.md).

| metric | type | labels | what |
|---|---|---|---|
"""

OUTRO = """
The bucket bounds of `facepay_verification_seconds` are {bounds} s. The 95th percentile of the API response
time: `histogram_quantile(0.95, sum by (le)
(rate(facepay_verification_seconds_bucket{{phase="api"}}[5m])))`.

Alert rules for Prometheus, with the fix in each alert:
[config/prometheus/rules.yml](../../config/prometheus/rules.yml); the jobs that they name:
[config/prometheus/scrape.yml](../../config/prometheus/scrape.yml). An alert on cost depends on the shop:
`increase(facepay_api_calls_total[1d])` above its number of sales.
"""

FLEET = """
## The fleet exporter

`facepay fleet exporter` serves these metrics of all terminals of one broker
([how to](../how-to/fleet.md)). The source is the retained `state` and the message `health`. Every metric of a
terminal has the labels `site` and `terminal`. All other labels are codes of closed lists; an unknown code is
counted and is never a label. One terminal has at most {series} series.

| metric | type | labels | what |
|---|---|---|---|
"""


def page() -> str:
    """The complete page."""
    bounds = ", ".join(f"{bound / 1e3:g}" for bound in BOUNDS_MS)
    head = INTRO + _rows(METRICS) + OUTRO.format(bounds=bounds)
    terminal = _rows([*TERMINAL_METRICS, HEALTH_AGE], TERMINAL_LABELS)
    return head + FLEET.format(series=SERIES_MAX) + terminal + _rows(MONITOR_METRICS)


def _rows(metrics: Iterable[Metric[Any]], common: tuple[str, ...] = ()) -> str:
    return "".join(
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in common + each.labels)} "
        f"| {each.help} |\n"
        for each in metrics
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
