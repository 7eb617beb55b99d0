"""`facepay diag ask`: remote diagnosis of a terminal over MQTT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import AsJson, read_file
from agent.cli.till_options import (
    NO_IDENTITY,
    Client,
    Host,
    Place,
    Port,
    Site,
    Terminal,
    as_client,
    broker_of,
)

if TYPE_CHECKING:
    from agent.messages.topics import Topics

app = typer.Typer(no_args_is_help=True, help="Diagnose a remote terminal over MQTT.")


@app.command(
    "ask",
    epilog="Example:  facepay diag ask --terminal terminal-1 --sign-key ops.key --key terminal.pem",
)
@as_client
def ask(
    sign_key: Annotated[Path, typer.Option(metavar="PEM", help="This operator's private key.")],
    key: Annotated[Path, typer.Option(metavar="PEM", help="The terminal's public key (facepay keys show).")],
    operator: Annotated[str, typer.Option(help="This operator's id.")] = "back-office",
    host: Host = None,
    port: Port = None,
    site: Site = "site",
    terminal: Terminal = "terminal",
    only: Annotated[str, typer.Option(metavar="ID[,ID]", help="Only these checks.")] = "",
    timeout_s: Annotated[float, typer.Option(min=1, max=600, help="Maximum wait for the report.")] = 60,
    config: Place = None,
    client: Client = NO_IDENTITY,
    as_json: AsJson = False,
) -> None:
    """Request the doctor's report of a terminal: read-only, signed in both directions, no config values.

    The terminal must trust this operator's key. On the terminal: facepay keys trust --operator back-office
    ops.pem. `--config` reads the broker's address and CA, site and terminal from a terminal's file. Exit as
    `facepay doctor`: 0, 1 or 2.
    """
    import asyncio

    from agent.config import Config
    from agent.config.file import load
    from agent.fleet.diagnosis_client import DiagnosisClient
    from agent.messages.signing import PublicKey, Signer
    from agent.messages.topics import Topics

    place = None if config is None else load(config, Config)
    broker = broker_of(host, port, client, place)
    if place is not None:
        site, terminal = place.site, place.terminal
    topics = Topics(site, terminal)
    asker = DiagnosisClient(broker, topics, operator, Signer.load(sign_key), PublicKey.load(read_file(key)))
    wanted = tuple(name.strip() for name in only.split(",") if name.strip())
    report = asyncio.run(asker.ask(wanted, timeout_s=timeout_s))
    doctor: dict[str, Any] = report["doctor"]
    _print(doctor, topics, as_json=as_json)
    if doctor["exit"]:
        raise typer.Exit(doctor["exit"])


def _print(doctor: dict[str, Any], topics: Topics, *, as_json: bool) -> None:
    import json

    from agent.cli.doctor import show_row

    if as_json:
        print(json.dumps(doctor, ensure_ascii=False))
    else:
        print(f"facepay doctor of {topics.site}/{topics.terminal}, signed by its key\n")
        for row in doctor["checks"]:
            show_row({key: _plain(value) for key, value in row.items()})


def _plain(value: object) -> object:
    """The value without characters that could control this terminal window."""
    return "".join(each for each in value if each.isprintable()) if isinstance(value, str) else value
