"""`facepay fleet watch | exporter`: all terminals of one broker, on a screen and as Prometheus text."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent import log
from agent.cli.options import AsJson, grouped
from agent.cli.till_options import BrokerOptions, IdentityOptions, Place, broker_of

if TYPE_CHECKING:
    import asyncio

    from agent.config import MqttConfig
    from agent.fleet.fleet_model import TerminalRow
    from agent.fleet.fleet_subscriber import FleetSubscriber

app = typer.Typer(no_args_is_help=True, help="Watch all terminals of a broker; export them to Prometheus.")

_CONNECT_S = 5.0
_REFRESH_S = 0.5
_QUIET_S = 0.3  # so long without a message: the retained states have arrived
_SETTLE_MAX_S = 1.5

TerminalsMax = Annotated[
    int, typer.Option(min=1, max=5_000, help="Show at most so many terminals; count the messages of others.")
]


@app.command("watch", epilog="Example:  facepay fleet watch --host broker.example --ca-file ca.pem")
@grouped
def watch(
    at: BrokerOptions = BrokerOptions(),
    config: Place = None,
    client: IdentityOptions = IdentityOptions(),
    once: Annotated[bool, typer.Option("--once", help="Print all that is known now, then end.")] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, max=600, help="With --once: listen so long, for health messages.")
    ] = 0,
    terminals_max: TerminalsMax = 1_000,
    as_json: AsJson = False,
) -> None:
    """Show all terminals of a broker on one screen, those that need a person first. Publishes nothing.

    `--json` prints one line for each change of a terminal; with `--once`, one document. `--once` exits with
    0: no terminal needs a person, 1: a warning, 2: a terminal may serve no customer.
    """
    import asyncio

    log.setup("error")
    broker = broker_of(at, client, config)
    code = asyncio.run(_watch(broker, terminals_max, wait_s if once else None, as_json=as_json))
    raise typer.Exit(code)


async def _watch(broker: MqttConfig, terminals_max: int, wait_s: float | None, *, as_json: bool) -> int:
    """Exit code. ``wait_s``: None without ``--once``."""
    import asyncio

    from agent.fleet.fleet_subscriber import FleetSubscriber
    from agent.kits.till.watcher import Reachability

    ready, reachability = asyncio.Event(), Reachability(broker)

    def on_ready() -> None:
        reachability.up()
        ready.set()

    subscriber = FleetSubscriber(broker, terminals_max, on_ready, reachability.note_problem)
    await subscriber.start()
    try:
        try:
            async with asyncio.timeout(_CONNECT_S):
                await ready.wait()
        except TimeoutError:
            raise reachability.error("the broker confirms no subscription") from None
        await _settle(subscriber, wait_s or 0)
        if wait_s is None:
            await _follow(subscriber, f"{broker.host}:{broker.port}", as_json=as_json)
            return 0
        if not len(subscriber.fleet):
            raise _empty(reachability)
        return _print_once(subscriber, f"{broker.host}:{broker.port}", as_json=as_json)
    finally:
        await subscriber.stop()


async def _settle(subscriber: FleetSubscriber, wait_s: float) -> None:
    """Wait for the retained states, or for ``wait_s``."""
    import asyncio

    clock = asyncio.get_running_loop()
    began_s = clock.time()
    await asyncio.sleep(max(wait_s, _QUIET_S))
    while clock.time() - subscriber.newest_s < _QUIET_S and clock.time() - began_s < _SETTLE_MAX_S:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _empty(reachability: Any) -> Exception:
    from agent.errors import TillError
    from agent.texts import Text

    error: TillError = reachability.error("the broker delivers no state of any terminal")
    if error.code != "terminal_offline":
        return error
    return TillError(str(error), code="fleet_empty", fix=Text("fix.fleet_empty"))


def _print_once(subscriber: FleetSubscriber, broker: str, *, as_json: bool) -> int:
    from agent.fleet.fleet_model import URGENT, Need
    from agent.fleet.fleet_subscriber import fleet_document

    rows = subscriber.rows()
    if as_json:
        print(json.dumps(fleet_document(subscriber, rows), ensure_ascii=False))
    else:
        from rich.console import Console

        from agent.cli.fleet_screen import screen
        from agent.terminal_output import below

        Console(file=below(sys.stdout), highlight=False).print(screen(subscriber, rows, broker))
    needs = {row.need for row in rows}
    return 2 if needs & URGENT else int(bool(needs - {Need.NOTHING, Need.STOPPING}))


async def _follow(subscriber: FleetSubscriber, broker: str, *, as_json: bool) -> None:
    """Show every change until SIGINT or SIGTERM."""
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if as_json or not sys.stdout.isatty():
        await _print_changes(subscriber, stop, as_json=as_json)
        return
    from rich.console import Console
    from rich.live import Live

    from agent.cli.fleet_screen import screen
    from agent.terminal_output import below

    console = Console(file=below(sys.stdout), highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            live.update(screen(subscriber, subscriber.rows(), broker, console.height), refresh=True)
            await _pause(stop)


async def _print_changes(subscriber: FleetSubscriber, stop: asyncio.Event, *, as_json: bool) -> None:
    """One line for each terminal, then one for each change: a row, a removed terminal, the connection."""
    from agent.fleet.fleet_subscriber import row_facts

    shown: dict[tuple[str, str], tuple[TerminalRow, dict[str, Any]]] = {}
    is_connected = True
    while not stop.is_set():
        rows = subscriber.rows()
        if subscriber.link.connected != is_connected:
            is_connected = subscriber.link.connected
            _print_change({"connected": is_connected}, as_json=as_json)
        for row in rows:
            old = shown.get((row.site, row.terminal))
            if old is None or old[0] is not row:
                facts = row_facts(row)
                shown[row.site, row.terminal] = row, facts
                if old is None or facts != old[1]:
                    _print_change(facts, as_json=as_json)
        for site, terminal in shown.keys() - {(row.site, row.terminal) for row in rows}:
            del shown[site, terminal]
            _print_change({"site": site, "terminal": terminal, "removed": True}, as_json=as_json)
        await _pause(stop)


def _print_change(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"schema": "facepay.fleet_row/1"} | facts), flush=True)
    else:
        words = [f"{name}={_plain(value)}" for name, value in facts.items() if value not in ([], "", 0)]
        print(" ".join(words), flush=True)


def _plain(value: object) -> str:
    return (
        ",".join(value)
        if isinstance(value, list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


async def _pause(stop: asyncio.Event) -> None:
    import asyncio
    from contextlib import suppress

    with suppress(TimeoutError):
        async with asyncio.timeout(_REFRESH_S):
            await stop.wait()


@app.command("exporter", epilog="Example:  facepay fleet exporter --host broker.example --ca-file ca.pem")
@grouped
def exporter(
    at: BrokerOptions = BrokerOptions(),
    config: Place = None,
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
    from agent.health.process import loading

    with loading():
        import asyncio

        from agent.event_loop import AgentEventLoop
        from agent.fleet.exporter import FleetExporter, serve

    log.setup(json_lines=as_json)
    host, port = _address(listen)
    broker = broker_of(at, client, config)
    with asyncio.Runner(loop_factory=AgentEventLoop) as runner:
        found = FleetExporter(broker, host, port, terminals_max)
        runner.run(serve(found, lambda line: print(line, file=sys.stderr, flush=True)))


def _address(text: str) -> tuple[str, int]:
    """Host and port of ``ADDRESS:PORT``; an IPv6 address stands in brackets."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        from agent.errors import AgentError
        from agent.texts import Text

        why = f"--listen: {text!r} is not ADDRESS:PORT"
        raise AgentError(why, code="listen_failed", fix=Text("fix.fleet_listen"))
    return host, int(port)
