"""`facepay fleet watch | exporter`: all terminals of one broker, on a screen and as Prometheus text."""

import sys
from typing import Annotated

import typer

from agent import log
from agent.cli.options import AsJson, grouped
from agent.cli.till_options import BrokerOptions, IdentityOptions, TerminalFile, broker_of

app = typer.Typer(no_args_is_help=True, help="Watch all terminals of a broker; export them to Prometheus.")

TerminalsMax = Annotated[
    int,
    typer.Option(
        min=1, max=5_000, help="Maximum number of terminals; the messages of others are only counted."
    ),
]


@app.command("watch", epilog="Example:  facepay fleet watch --host broker.example --ca-file ca.pem")
@grouped
def watch(
    at: BrokerOptions = BrokerOptions(),
    config: TerminalFile = None,
    client: IdentityOptions = IdentityOptions(),
    once: Annotated[bool, typer.Option("--once", help="Print all that is known now, then end.")] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, max=600, help="With --once: time to wait for health messages.")
    ] = 0,
    terminals_max: TerminalsMax = 1_000,
    as_json: AsJson = False,
) -> None:
    """Show all terminals of a broker on one screen, those that need a person first. Publishes nothing.

    `--json` prints one line for each change of a terminal; with `--once`, one document. `--once` exits with
    0: no terminal needs a person, 1: a warning, 2: a terminal may serve no customer.
    """
    from agent import event_loop
    from agent.cli.fleet_watch import run

    log.setup("error")
    broker = broker_of(at, client, config)
    raise typer.Exit(event_loop.run(run(broker, terminals_max, wait_s if once else None, as_json=as_json)))


@app.command("exporter", epilog="Example:  facepay fleet exporter --host broker.example --ca-file ca.pem")
@grouped
def exporter(
    at: BrokerOptions = BrokerOptions(),
    config: TerminalFile = None,
    client: IdentityOptions = IdentityOptions(),
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Serve plain HTTP here; keep it off open networks.")
    ] = "127.0.0.1:9817",
    terminals_max: TerminalsMax = 1_000,
    as_json: AsJson = False,
) -> None:
    """Serve all terminals of a broker as Prometheus text at GET /metrics, until SIGTERM. Publishes nothing.

    One line on stderr reports that the exporter is ready; `--json` logs one JSON object per line. Metrics:
    docs/reference/metrics.md.
    """
    from agent.health.process import imports_without_gc

    with imports_without_gc():
        from agent import event_loop
        from agent.fleet.exporter import FleetExporter, serve

    log.setup(json_lines=as_json)
    host, port = _address(listen)
    broker = broker_of(at, client, config)
    fleet_exporter = FleetExporter(broker, host, port, terminals_max)
    event_loop.run(serve(fleet_exporter, lambda line: print(line, file=sys.stderr, flush=True)))


def _address(text: str) -> tuple[str, int]:
    """Host and port of ``ADDRESS:PORT``; an IPv6 address stands in brackets."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        from agent.errors import AgentError
        from agent.texts import Text

        why = Text("detail.not_address_port", text=repr(text))
        raise AgentError(why, code="listen_failed", fix=Text("fix.fleet_listen"))
    return host, int(port)
