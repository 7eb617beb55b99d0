"""`facepay diag ask`: remote diagnosis of a terminal over MQTT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.doctor import listed, show_faults, show_first
from agent.cli.options import AsJson, grouped, read_file
from agent.cli.till_options import IdentityOptions, Place, TerminalOptions, broker_of, topics_of

app = typer.Typer(no_args_is_help=True, help="Diagnose a remote terminal over MQTT.")


@app.command(
    "ask", epilog="Example:  facepay diag ask --terminal terminal-1 --sign-key ops.key --key terminal.pem"
)
@grouped
def ask(
    sign_key: Annotated[Path, typer.Option(metavar="PEM", help="This operator's private key.")],
    key: Annotated[Path, typer.Option(metavar="PEM", help="The terminal's public key (facepay keys show).")],
    operator: Annotated[str, typer.Option(help="This operator's id.")] = "back-office",
    at: TerminalOptions = TerminalOptions(),
    only: Annotated[str, typer.Option(metavar="ID[,ID]", help="Only these checks.")] = "",
    timeout_s: Annotated[float, typer.Option(min=1, max=600, help="Maximum wait for the report.")] = 60,
    config: Place = None,
    client: IdentityOptions = IdentityOptions(),
    as_json: AsJson = False,
) -> None:
    """Request the doctor's report of a terminal: read-only, signed in both directions, no config values.

    The terminal must trust this operator's key. On the terminal: facepay keys trust --operator back-office
    ops.pem. `--config` reads the broker's address and CA, site and terminal from a terminal's file. Exit as
    `facepay doctor`: 0, 1 or 2.
    """
    import asyncio

    from agent.fleet.diagnosis_client import DiagnosisClient
    from agent.messages.signing import PublicKey, Signer

    broker, topics = broker_of(at, client, config), topics_of(at, config)
    asker = DiagnosisClient(broker, topics, operator, Signer.load(sign_key), PublicKey.load(read_file(key)))
    report = asyncio.run(asker.ask(tuple(listed(only)), timeout_s=timeout_s))
    doctor: dict[str, Any] = report["doctor"]
    if as_json:
        print(json.dumps(doctor, ensure_ascii=False))
    else:
        print(f"facepay doctor of {topics.site}/{topics.terminal}, signed by its key\n")
        rows = [{name: _plain(value) for name, value in row.items()} for row in doctor["checks"]]
        for row in rows:
            show_first(row)
        show_faults(rows)
    raise typer.Exit(doctor["exit"])


def _plain(value: object) -> object:
    """The value without characters that could control this terminal window."""
    return "".join(each for each in value if each.isprintable()) if isinstance(value, str) else value
