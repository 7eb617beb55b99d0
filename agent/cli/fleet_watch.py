"""`facepay fleet watch`: connect, then print once or follow every change."""

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.live import Live

from agent.cli.fleet_screen import screen
from agent.config import MqttConfig
from agent.errors import TillError
from agent.fleet.fleet_model import URGENT, Need, TerminalRow
from agent.fleet.fleet_subscriber import FleetSubscriber, fleet_document, row_facts
from agent.mqtt.reachability import Reachability
from agent.terminal_output import below
from agent.texts import Text

_CONNECT_S = 5.0
_REFRESH_S = 0.5
_PIPE_COLUMNS = 10_000
_QUIET_S = 0.3  # without a message for this time, the retained states have arrived
_SETTLE_MAX_S = 1.5


async def run(broker: MqttConfig, terminals_max: int, wait_s: float | None, *, as_json: bool) -> int:
    """Connect and print; return the exit code. ``wait_s``: time of ``--once`` for messages; None: follow."""
    ready, reachability = asyncio.Event(), Reachability(broker)

    def on_ready() -> None:
        reachability.note_ready()
        ready.set()

    subscriber = FleetSubscriber(broker, terminals_max, on_ready, on_problem=reachability.note_problem)
    await subscriber.start()
    try:
        try:
            async with reachability.limit(_CONNECT_S):
                await ready.wait()
        except TimeoutError:
            raise _empty_fleet(reachability) from None
        await _settle(subscriber, wait_s or 0)
        error = None if len(subscriber.fleet) else _empty_fleet(reachability)
        # without --once the first terminal may appear later, unless the broker refuses the subscription
        if error is not None and (wait_s is not None or error.code != "fleet_empty"):
            raise error
        if wait_s is None:
            await _follow(subscriber, f"{broker.host}:{broker.port}", as_json=as_json)
            return 0
        return _print_once(subscriber, f"{broker.host}:{broker.port}", as_json=as_json)
    finally:
        await subscriber.stop()


async def _settle(subscriber: FleetSubscriber, wait_s: float) -> None:
    """Wait for the retained states, or for ``wait_s``."""
    end_s = time.monotonic() + _SETTLE_MAX_S
    await asyncio.sleep(max(wait_s, _QUIET_S))
    while subscriber.newest_s + _QUIET_S > time.monotonic() < end_s:  # noqa: ASYNC110 - time is the condition
        await asyncio.sleep(0.05)


def _empty_fleet(reachability: Reachability) -> TillError:
    """The reason why the broker delivered nothing."""
    empty = TillError(Text("detail.fleet_empty"), code="fleet_empty", fix=Text("fix.fleet_empty"))
    return reachability.error(empty)


def _print_once(subscriber: FleetSubscriber, broker: str, *, as_json: bool) -> int:
    rows = subscriber.rows()
    if as_json:
        print(json.dumps(fleet_document(subscriber, rows), ensure_ascii=False))
    else:
        # a pipe has no width: the codes are complete
        pipe_columns = None if sys.stdout.isatty() else _PIPE_COLUMNS
        console = Console(file=below(sys.stdout), highlight=False, width=pipe_columns)
        console.print(screen(subscriber, rows, broker, width=console.width))
    needs = {row.need for row in rows}
    return 2 if needs & URGENT else int(bool(needs - {Need.NOTHING, Need.STOPPING}))


async def _follow(subscriber: FleetSubscriber, broker: str, *, as_json: bool) -> None:
    """Show every change until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if as_json or not sys.stdout.isatty():
        await _print_changes(subscriber, stop, as_json=as_json)
        return
    console = Console(file=below(sys.stdout), highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.is_set():
            width, height = console.size
            shown = screen(subscriber, subscriber.rows(), broker, width=width, height=height)
            live.update(shown, refresh=True)
            await _pause(stop)


async def _print_changes(subscriber: FleetSubscriber, stop: asyncio.Event, *, as_json: bool) -> None:
    """One line for each terminal, then one for each change: a row, a removed terminal, the connection."""
    shown: dict[tuple[str, str], tuple[TerminalRow, dict[str, Any]]] = {}
    is_connected = True
    while not stop.is_set():
        rows = subscriber.rows()
        if subscriber.connection.is_connected != is_connected:
            is_connected = subscriber.connection.is_connected
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
        texts = {name: _text_of(value) for name, value in facts.items()}
        print(" ".join(f"{name}={text}" for name, text in texts.items() if text not in ("", "0")), flush=True)


def _text_of(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_REFRESH_S):
            await stop.wait()
