"""Options that several commands share, with the same name and help everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Config file (TOML).", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


def read_file(path: Path) -> bytes:
    """A file named on the command line. Raises ``AgentError`` (``file_unreadable``)."""
    from agent.errors import AgentError

    try:
        return path.read_bytes()
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}", code="file_unreadable") from error
