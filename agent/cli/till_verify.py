"""`facepay till verify`: a check of a captured result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson, read_file

EXAMPLE = "Example:  facepay till verify result.json --key terminal.pem --request request.json"


def verify(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="The result's MQTT payload.")],
    key: Annotated[
        Path, typer.Option(metavar="PEM", help="The terminal's public key, received over another channel.")
    ],
    request: Annotated[
        Path | None,
        typer.Option(metavar="REQUEST.json", help="The request's MQTT payload, byte for byte as sent."),
    ] = None,
    site: Annotated[str, typer.Option(help="The expected site.")] = "",
    terminal: Annotated[str, typer.Option(help="The expected terminal.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check a captured result's signature, and with --request that the result belongs to this request.

    Exit 0: valid, 1: invalid, with the broken rule. Only the till can check that the result arrived in time.
    """
    from agent.kits.till.verify import check
    from agent.messages.signing import PublicKey

    pinned = PublicKey.load(read_file(key))
    also = {name: value for name, value in (("site", site), ("terminal", terminal)) if value}
    found = check(read_file(result), pinned, None if request is None else read_file(request), also)
    if as_json:
        print(json.dumps({"valid": not found.broken, "broken": found.broken, "result": found.result}))
    elif found.broken:
        print(f"NOT valid: {found.broken}")
    else:
        against = "signature only (no --request)" if request is None else "signature and request"
        outcome, sender = (
            "/".join(str(found.result.get(name)) for name in names)
            for names in (("decision", "reason"), ("site", "terminal"))
        )
        print(f"valid: {outcome} from {sender}; checked: {against}")
    if found.broken:
        raise typer.Exit(1)
