"""`facepay metrics`: the running agent's metrics as Prometheus text."""

from __future__ import annotations

from agent.cli.options import ConfigFile


def metrics(config: ConfigFile = None) -> None:
    """Print the metrics of the running agent as Prometheus text. Names: docs/reference/metrics.md."""
    from agent.cli.config import storage_of
    from agent.control.server import path_for, request_status
    from agent.health.metrics import render

    path = path_for(storage_of(config))
    print(render(request_status(path)).decode(), end="")
