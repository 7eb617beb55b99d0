"""`facepay till verify`: is a captured result what it says it is?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson, read_file

EXAMPLE = "Example:  facepay till verify result.json --key terminal.pem --request request.json"


def verify(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="The result's MQTT payload.")],
    key: Annotated[Path, typer.Option(metavar="PEM", help="The terminal's public key, learnt out of band.")],
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="REQUEST.json", help="The request's MQTT payload, byte for byte as it was sent."
        ),
    ] = None,
    site: Annotated[str, typer.Option(help="The site it must name.")] = "",
    terminal: Annotated[str, typer.Option(help="The terminal it must name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check a captured result's signature, and with --request that it answers that very request.

    Exit 0: valid, 1: not, and the rule it breaks. Whether it came in time only the till itself can tell.
    """
    import json

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
        said, who = (
            "/".join(str(found.result.get(name)) for name in names)
            for names in (("decision", "reason"), ("site", "terminal"))
        )
        print(f"valid: {said} from {who}; checked: {against}")
    if found.broken:
        raise typer.Exit(1)
