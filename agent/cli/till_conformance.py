"""`facepay till conformance`: a test of a till against the till's rules of the contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent import log
from agent.cli.console import Spinner
from agent.cli.options import AsJson, grouped, pem, write_file
from agent.cli.till_options import (
    IdentityOptions,
    ObserverOptions,
    TerminalOptions,
    TillId,
    broker_of,
    key_folder,
    observer_of,
    topics_of,
)

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.kits.till_conformance.preparation import WaitTimes
    from agent.kits.till_conformance.rules import ScenarioRow
    from agent.kits.till_conformance.scenarios import Scenario
    from agent.messages.topics import Topics

EXAMPLE = "Example:  facepay till conformance --key terminal.pem --listen 18830 --till till-1"

Only = Annotated[
    list[str] | None, typer.Option(metavar="SCENARIO", help="Run only this scenario; may be repeated.")
]


@grouped
def conformance(
    key: Annotated[Path, pem(help="Write the key that your till must pin to this file.")],
    listen: Annotated[int, typer.Option(help="Loopback port for your till; 0: a free port.")] = 18830,
    at: TerminalOptions = TerminalOptions(),
    till: TillId = "till-1",
    client: IdentityOptions = IdentityOptions(),
    observer: ObserverOptions = ObserverOptions(),
    wait_s: Annotated[float, typer.Option(min=1, help="Maximum wait for a request of your till.")] = 60.0,
    only: Only = None,
    settle_ms: Annotated[int, typer.Option(min=50, help="Maximum time of your till for a payment.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Test YOUR till: simulate a faulty terminal, one rule of the till at a time.

    In test mode your till publishes {"request_id": ...} on .../conformance/{till}/paid instead of a payment.
    Your till sends or cancels a request when {"do": "ask"} or {"do": "cancel"} arrives on
    .../conformance/{till}/do (or press its buttons as prompted). At {"do": "restart"} the process of your
    till ends and starts again. Use a short ttl_ms, e.g. 3000. Exit 0: every scenario passed. The kit connects
    two clients, a terminal and an observer. A broker that binds client ids to certificates, as in
    config/mosquitto, needs two certificates: --cert-file of a terminal, --observer-cert-file, and the rights
    for tests in config/mosquitto/acl-tills.
    """
    from agent import event_loop
    from agent.kits.till_conformance.preparation import WaitTimes
    from agent.kits.till_conformance.scenarios import pick

    log.setup("error")
    scenarios, wait_times = pick(only), WaitTimes(wait_s, settle_ms / 1e3)
    mqtt = broker_of(at, client)
    where = (mqtt, observer_of(mqtt, observer), topics_of(at), till)
    rows = event_loop.run(_run(where, scenarios, key, listen, wait_times))
    if as_json:
        passed = all(row.outcome == "pass" for row in rows)
        print(json.dumps({"passed": passed, "scenarios": [asdict(row) for row in rows]}))
    else:
        _print_table(rows)
    if any(row.outcome != "pass" for row in rows):
        raise typer.Exit(1)


async def _run(
    where: tuple[MqttConfig, MqttConfig, Topics, str],
    scenarios: Sequence[Scenario],
    key: Path,
    listen: int,
    wait_times: WaitTimes,
) -> list[ScenarioRow]:
    from agent.kits.simulator.terminal import SimulatorSetup
    from agent.kits.till_conformance.kit import Kit
    from agent.root.wiring import BootClock

    mqtt, observer, topics, till = where
    with key_folder("facepay-conformance-") as folder, Spinner("connecting to the broker") as spinner:

        def prompt(text: str) -> None:
            """Print a step for the tester on stderr; stdout is for the table."""
            spinner.print_out(f"your till: {text}", stderr=True)

        setup = SimulatorSetup(mqtt, topics, folder, BootClock(), observer)
        kit = Kit(setup, till, wait_times, prompt)
        write_file(key, kit.public_key_pem)
        try:
            await kit.start(listen)
            name = f"{till} of {topics.site}/{topics.terminal}"
            prompt(f"connect as {name} to 127.0.0.1:{kit.port}, with {key} pinned")
            return await kit.run(scenarios, spinner.update)
        finally:
            await kit.stop()


def _print_table(rows: list[ScenarioRow]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("scenario", "behaviour", "outcome", "rule broken")
    for row in rows:
        outcome = {"pass": "[green]pass", "fail": "[red]FAIL"}.get(row.outcome, "[yellow]not played")
        detail = escape(", ".join(row.broken) or row.detail)  # the detail may quote the till
        table.add_row(row.scenario, row.words, outcome, detail)
    Console(soft_wrap=False).print(table)
    passed = sum(row.outcome == "pass" for row in rows)
    rules = 'docs/reference/till-contract.md, section "The till\'s duty"'
    print(f"{passed} of {len(rows)} passed. Rules: {rules}.")
