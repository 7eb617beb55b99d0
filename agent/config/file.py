"""Reads a TOML file into frozen sections. An unknown key is an error; errors name file, line and key."""

from __future__ import annotations

import codecs
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Never, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import ConfigError
from agent.texts import Text

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAX_FILE_BYTES = 256 * 1024

Ms = Annotated[int, Field(ge=0, le=3_600_000)]
Percent = Annotated[float, Field(ge=0, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Secret(StrEnum):
    """Mark, in ``Annotated``, of a field with a secret behind it. All lists of secrets use these marks."""

    FILE = "file"  # the path of a file that holds a secret
    URL = "url"  # an address that can contain a user, password or token


class Section(BaseModel):
    """Base of every section: frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Section)


def unsupported(key: str, value: Never) -> ConfigError:
    """The error to raise in the last case of a ``match`` over a closed set of config values.

    A declared value without its own case does not type-check, as with ``typing.assert_never``. At run time a
    config with this value does not load.
    """
    return ConfigError(f"{key}: this version does not support {value!r}")


def load(path: Path, kind: type[S]) -> S:
    """Read a TOML file into a frozen section tree.

    Raises:
        ConfigError: unreadable, not TOML, unknown key, wrong value; the message starts with ``file:line``.
    """
    text = text_of(path)
    try:
        return kind.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        loc = tuple(part for part in first["loc"] if isinstance(part, str))
        line = line_of(text, loc)
        where = f"{path}:{line}" if line else f"{path}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        why = "unknown key" if first["type"] == "extra_forbidden" else message
        raise ConfigError(f"{where}: {'.'.join(loc) or 'file'}: {why}{more}") from error
    except (ValueError, RecursionError) as error:  # also: a number too long, a nesting too deep
        raise ConfigError(f"{path}: not TOML: {error}") from error


def text_of(path: Path) -> str:
    """The text of a config file.

    Raises:
        ConfigError: unreadable, too large, not UTF-8, or with a byte order mark.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", code="config_unreadable") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: {len(raw)} bytes is too large for a config file (limit {MAX_FILE_BYTES})")
    if raw.startswith(_MARKS):
        raise ConfigError(f"{path}:1: begins with a byte order mark", fix=Text("fix.save_utf8_without_bom"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not TOML: byte {error.start + 1} is not UTF-8") from error


def line_of(text: str, loc: tuple[str, ...]) -> int | None:
    """Line (from 1) of a key in a TOML text; the line of its table if the key is absent; None if neither.

    Finds ``[table]`` headers and ``key =`` lines only, which is enough for config files.
    """
    found: int | None = None
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            if table == loc[: len(table)] and found is None:
                found = number
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            path = table + tuple(part.strip("\"'") for part in key[1].split("."))
            if path == loc[: len(path)]:
                return number
    return found
