"""`facepay till conformance`: plays every trap to a till under test and names the rule it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.till_options import (
    NO_IDENTITY,
    Client,
    Host,
    Port,
    Site,
    Terminal,
    TillId,
    as_client,
    broker_of,
)
from agent.cli.till_simulate import write_key
from agent.cli.waiting import Spinner

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.kits.till_conformance.kit import Patience
    from agent.kits.till_conformance.rules import Scenario, ScenarioRow
    from agent.messages.topics import Topics

EXAMPLE = "Example:  facepay till conformance --key terminal.pem --listen 18830 --till till-1"


Only = Annotated[
    list[str] | None, typer.Option(metavar="SCENARIO", help="Play only this one; may be repeated.")
]


@as_client
def conformance(
    key: Annotated[Path, typer.Option(metavar="PEM", help="Where to write the key that your till must pin.")],
    listen: Annotated[
        int, typer.Option(help="Loopback port your till connects to; 0 takes a free one.")
    ] = 18830,
    host: Host = None,
    port: Port = None,
    site: Site = "site",
    terminal: Terminal = "terminal",
    till: TillId = "till-1",
    client: Client = NO_IDENTITY,
    wait_s: Annotated[float, typer.Option(min=1, help="How long to wait for your till to ask.")] = 60.0,
    only: Only = None,
    settle_ms: Annotated[int, typer.Option(min=50, help="How long your till may take to pay.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Judge YOUR till: play a terminal that misbehaves, one rule of the till's duty at a time.

    In test mode your till publishes {"request_id": ...} on .../conformance/{till}/paid when it would take
    money, and asks or cancels when {"do": "ask"} or {"do": "cancel"} arrives on .../conformance/{till}/do (or
    press its buttons when told). A short ttl_ms, e.g. 3000, keeps it short. Exit 0: every scenario passed.
    The kit is a terminal and an observer, two clients: use a test broker that does not bind client ids to
    certificates (the shop's broker does).
    """
    import asyncio

    from agent import log
    from agent.kits.till_conformance.kit import Patience
    from agent.kits.till_conformance.rules import pick
    from agent.messages.topics import Topics, checked

    log.setup("error")
    scenarios = pick(only)
    topics = Topics(checked(site), checked(terminal))
    mqtt = broker_of(host, port, client)
    patience = Patience(wait_s, settle_ms / 1e3)
    rows = asyncio.run(_run((mqtt, topics, till), scenarios, key, listen, patience))
    _print_json(rows) if as_json else _print_table(rows)
    if any(row.outcome != "pass" for row in rows):
        raise typer.Exit(1)


async def _run(
    where: tuple[MqttConfig, Topics, str],
    scenarios: Sequence[Scenario],
    key: Path,
    listen: int,
    patience: Patience,
) -> list[ScenarioRow]:
    import tempfile

    from agent.kits.simulator.terminal import SimulatorSetup
    from agent.kits.till_conformance.kit import Kit
    from agent.root.wiring import BootClock

    mqtt, topics, till = where
    folders = tempfile.TemporaryDirectory(prefix="facepay-conformance-")
    with folders as folder, Spinner("connecting to the broker") as waiting:

        def say(text: str) -> None:
            """To the person at the till; stdout is for the table."""
            waiting.note(f"your till: {text}")

        kit = Kit(SimulatorSetup(mqtt, topics, Path(folder), BootClock()), till, patience, say)
        write_key(key, kit.public_key_pem)
        try:
            await kit.start(listen)
            who = f"{till} of {topics.site}/{topics.terminal}"
            say(f"connect as {who} to 127.0.0.1:{kit.port}, with {key} pinned")
            return await kit.run(scenarios, waiting.about)
        finally:
            await kit.stop()


def _print_json(rows: list[ScenarioRow]) -> None:
    import json
    from dataclasses import asdict

    passed = all(row.outcome == "pass" for row in rows)
    print(json.dumps({"passed": passed, "scenarios": [asdict(row) for row in rows]}))


def _print_table(rows: list[ScenarioRow]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("scenario", "what was played", "outcome", "rule broken")
    for row in rows:
        outcome = {"pass": "[green]pass", "fail": "[red]FAIL"}.get(row.outcome, "[yellow]not played")
        detail = escape(", ".join(row.broken) or row.detail)  # it may quote the till
        table.add_row(row.scenario, row.words, outcome, detail)
    Console(soft_wrap=False).print(table)
    passed = sum(row.outcome == "pass" for row in rows)
    print(
        f'{passed} of {len(rows)} passed. Rules: docs/reference/till-contract.md, section "The till\'s duty".'
    )
