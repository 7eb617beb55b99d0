"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.texts import Text

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Config file (TOML).", metavar="FILE")
]
_READABLE = Text("fix.file_unreadable")


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


def read_file(path: Path) -> bytes:
    """A file named on the command line. Raises ``AgentError`` (``file_unreadable``)."""
    from agent.errors import AgentError

    try:
        return path.read_bytes()
    except OSError as error:
        raise AgentError(
            f"{path}: {error.strerror}",
            code="file_unreadable",
            fix=_READABLE,
        ) from error
