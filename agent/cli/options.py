"""Options that several commands share, with the same name and help everywhere, and files named by options."""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.errors import AgentError, failure_at
from agent.texts import Text

ConfigFile = Annotated[
    Path | None,  # readable=False: Typer would end with 2 and without a fix
    typer.Option("--config", "-c", help="Config file (TOML).", metavar="FILE", readable=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
File = Path | None
file, pem = functools.partial(typer.Option, metavar="FILE"), functools.partial(typer.Option, metavar="PEM")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: replace each parameter whose class holds options with those options."""
    signature = inspect.signature(command, eval_str=True)
    groups, parameters = dict[str, Any](), list[inspect.Parameter]()
    for name, parameter in signature.parameters.items():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            groups[name] = inspect.signature(kind, eval_str=True).parameters
        parameters += groups[name].values() if name in groups else [parameter]

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        for name, options in groups.items():
            kind = signature.parameters[name].annotation
            arguments[name] = kind(**{option: arguments.pop(option) for option in options})
        command(**arguments)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def read_file(path: Path) -> bytes:
    """A file named on the command line. Raises ``AgentError`` (``file_unreadable``)."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise AgentError(failure_at(path, error), code="file_unreadable") from error


def write_file(path: Path, content: bytes) -> None:
    """Write or replace a file named on the command line. Raises ``AgentError`` (``file_unwritable``)."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise AgentError(failure_at(path, error), code="file_unwritable") from error


def write_new(path: Path, content: bytes) -> None:
    """Write a new file, readable by its owner only. Follows no link.

    Raises ``AgentError`` (``file_exists``, ``file_unwritable``).
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise AgentError(Text("detail.exists", path=path), code="file_exists") from error
    except OSError as error:
        raise AgentError(failure_at(path, error), code="file_unwritable") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
