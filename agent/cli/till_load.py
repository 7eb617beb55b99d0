"""`facepay till load`: can this broker carry our fleet?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.options import AsJson
from agent.cli.till_options import Host, Port
from agent.cli.waiting import Waiting

EXAMPLE = "Example:  facepay till load --terminals 500 --rate 50 --seconds 20 --port 1883"


def load(
    host: Host = "127.0.0.1",
    port: Port = 1883,
    terminals: Annotated[int, typer.Option(min=1, max=20_000, help="Simulated terminals.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, max=5_000, help="Requests per second in all.")] = 20.0,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long to ask.")] = 10.0,
    ca_file: Annotated[Path | None, typer.Option(metavar="PEM", help="The broker's CA; means TLS.")] = None,
    cert_file: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate of all clients.")] = None,
    key_file: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Connect a simulated fleet to a broker, ask at a fixed rate, and show what came back and how fast.

    Every terminal and till has a connection of its own; each result is signed. `--ca-file` switches TLS on.
    Do not use it on a broker that serves a shop: the simulated site is called `load`.
    Exit 0: every request got its result, 1: some were lost.
    """
    import asyncio
    import json
    from dataclasses import asdict

    from agent.config import MqttConfig
    from agent.tillkit.load import Load, run

    _raise_file_limit(terminals)
    files: dict[str, Any] = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
    config = MqttConfig(host=host, port=port, tls=ca_file is not None, keepalive_s=60, **files)
    with Waiting(f"{terminals} terminals connect, then {rate:g} requests a second for {seconds:g} s"):
        report = asyncio.run(run(config, Load(terminals, rate, seconds)))
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        for name, value in asdict(report).items():
            print(f"{name:<18} {value}")
    if report.lost or report.connections_lost:
        raise typer.Exit(1)


def _raise_file_limit(terminals: int) -> None:
    """Each connection is three file descriptors (paho keeps a socket pair beside it)."""
    import resource

    wanted = terminals * 3 + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
