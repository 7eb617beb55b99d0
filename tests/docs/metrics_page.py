"""docs/metrics.md, written from the table of metrics: ``python -m tests.docs.metrics_page``."""

from __future__ import annotations

from pathlib import Path

from agent.health.laps import BOUNDS_MS
from agent.health.metrics import METRICS

PAGE = Path(__file__).parent.parent.parent / "docs" / "metrics.md"

INTRO = """# Metrics

Written from the code (`python -m tests.docs.metrics_page`); a test fails when it is out of date.

Prometheus text, made from the document that `facepay status` shows: numbers and codes, nothing about a sale,
a payer or a picture. Every counter begins at 0 with the process; a series of a closed list is there from the
start. Where to get it:

- `facepay metrics --config FILE` on the terminal, for node_exporter's textfile collector or a person:
  `facepay metrics > /var/lib/prometheus/node-exporter/facepay.prom.new && mv …`
- `GET /metrics` of the [diagnostics page](page.md) (`[page]`), where it is switched on, with its token
  (Prometheus: `authorization: {credentials_file: …}`);
- where nothing may reach the terminal, the same numbers come every 60 s on MQTT as `health`
  ([till-contract.md](till-contract.md)).

One scrape costs the agent 0.7 ms and is 15 kB (document and text, median of 200 on 2 cores of an x86 server;
not measured on a Raspberry Pi).

A dashboard for Grafana: [config/grafana/facepay.json](../config/grafana/facepay.json).

| metric | type | labels | what |
|---|---|---|---|
"""

OUTRO = """
The bounds of `facepay_verification_seconds`: {bounds} s. So the 95th percentile of the API's answer time is
`histogram_quantile(0.95, sum by (le) (rate(facepay_verification_seconds_bucket{{phase="api"}}[5m])))`.

Worth an alert: `facepay_condition{{severity="error"}} == 1` for a minute, `facepay_outbox_results > 10` for
ten minutes (a till does not acknowledge), `increase(facepay_api_calls_total[1d])` beyond what the shop
sells, and `absent(facepay_terminal_info)`.
"""


def page() -> str:
    """The whole page."""
    rows = (
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in METRICS
    )
    bounds = ", ".join(f"{bound / 1e3:g}" for bound in BOUNDS_MS)
    return INTRO + "\n".join(rows) + "\n" + OUTRO.format(bounds=bounds)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
