"""Options of the `facepay till` commands: where the broker is, and who talks to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str, typer.Option(help="Broker address.")]
Port = Annotated[int, typer.Option(help="Broker port.")]
Site = Annotated[str, typer.Option(help="Site id in the topics.")]
Terminal = Annotated[str, typer.Option(help="Terminal id in the topics.")]
TillId = Annotated[str, typer.Option("--till", help="This till's id.")]
SignKey = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="This till's private key, to sign with; a shop's terminals need it."),
]
