"""`facepay metrics`: the running agent's numbers as Prometheus text."""

from __future__ import annotations

from agent.cli.options import ConfigFile


def metrics(config: ConfigFile = None) -> None:
    """The running agent's numbers as Prometheus text, read over its local socket. Names: docs/metrics.md."""
    from agent.cli.config import path_of
    from agent.config import Config
    from agent.config_file import load
    from agent.diagnostics.socket import ask, path_for
    from agent.health.metrics import render

    path = path_for(load(path_of(config), Config).storage.directory)
    print(render(ask(path)).decode(), end="")
