"""`facepay till load`: a load test of a broker with a simulated fleet."""

from __future__ import annotations

import json
import resource
from dataclasses import asdict
from typing import Annotated

import typer

from agent.cli.options import AsJson, grouped
from agent.cli.till_options import BrokerOptions, IdentityOptions, broker_of
from agent.cli.waiting import Spinner

EXAMPLE = "Example:  facepay till load --terminals 500 --rate 50 --seconds 20 --port 1883"


@grouped
def load(
    at: BrokerOptions = BrokerOptions(),
    terminals: Annotated[int, typer.Option(min=1, max=20_000, help="Simulated terminals.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, max=5_000, help="Requests per second in all.")] = 20.0,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="Duration of the requests.")] = 10.0,
    client: IdentityOptions = IdentityOptions(),
    as_json: AsJson = False,
) -> None:
    """Connect a simulated fleet to a broker, send requests at a fixed rate, and measure the results.

    Every terminal and till has a separate connection; each result is signed. `--ca-file` switches TLS on. Do
    not use this command on a shop's broker; the simulated site is called `load`. Exit 0: every request got
    its result, 1: some results were lost.
    """
    import asyncio

    from agent.kits.load.load import Load, run

    _raise_file_limit(terminals)
    config = broker_of(at, client).model_copy(update={"keepalive_s": 60})
    with Spinner(f"{terminals} terminals connect, then {rate:g} requests a second for {seconds:g} s"):
        report = asyncio.run(run(config, Load(terminals, rate, seconds)))
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        for name, value in asdict(report).items():
            print(f"{name:<18} {value}")
    if report.lost or report.connections_lost:
        raise typer.Exit(1)


def _raise_file_limit(terminals: int) -> None:
    """Raise the limit of open files: a connection needs three (paho adds a socket pair)."""
    wanted = terminals * 3 + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
