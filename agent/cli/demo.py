"""`facepay demo`: broker, compare service, terminal and till on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from agent import log
from agent.cli.config import load_config
from agent.cli.options import AsJson, ConfigFile


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep all parts running after the visits.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run broker, compare service, terminal and till on this machine: seven visits, one verdict each.

    Needs no camera, account or network. `--config` takes [vision], [policy] and [verification] from a file.
    Exit 0 only if every verification has the result that its scene requires.

    Example:  facepay demo --json
    """
    import asyncio

    from agent.demo.screen import show

    log.setup("error")
    if not asyncio.run(show(load_config(config) if config else None, keep=keep, as_json=as_json)):
        raise typer.Exit(1)
