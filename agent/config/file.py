"""Reads TOML files into frozen sections. An unknown key is an error; errors name file, line and key.

A config is one file and the files beside it (``toml_layers.layers``); a later file wins.
"""

import codecs
import os
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Never, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from agent.errors import ConfigError, WrongValueError, reason_of
from agent.texts import Text, has_text
from agent.toml_layers import layers, merged, sets

BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAX_FILE_BYTES = 256 * 1024

Ms = Annotated[int, Field(ge=0, le=3_600_000)]
Percent = Annotated[float, Field(ge=0, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _without_nul(path: Path) -> Path:
    if "\0" in str(path):  # Python raises ValueError where the path is used
        raise WrongValueError(Text("detail.directory_nul"))
    return path


FilePath = Annotated[Path, AfterValidator(_without_nul)]


class Secret(StrEnum):
    """Mark, in ``Annotated``, of a field with a secret behind it. All lists of secrets use these marks."""

    FILE = "file"  # the path of a file that holds a secret
    URL = "url"  # an address that can contain a user, password or token


# To find plugins, pydantic reads the metadata of every installed package: a fifth of the time that the config
# adds to the start. A plugin would be foreign code in this process.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


class Section(BaseModel):
    """Base of every section: frozen; an unknown key is an error.

    ``defer_build``: only the schema of the section that is loaded is built, and not that of each inner one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


S = TypeVar("S", bound=Section)


def unsupported(key: str, value: Never) -> ConfigError:
    """The error to raise in the last case of a ``match`` over a closed set of config values.

    A declared value without its own case does not type-check, as with ``typing.assert_never``. At run time a
    config with this value does not load.
    """
    return ConfigError(Text("detail.unsupported", key_=key, value=value))


class Layer(NamedTuple):
    """One file of a config."""

    path: Path
    text: str
    tree: dict[str, Any]


def load(path: Path, kind: type[S]) -> S:
    """Read a TOML file, and the files of its ``.d`` folder, into a frozen section tree.

    Raises:
        ConfigError: unreadable, not TOML, unknown key, wrong value; the message starts with ``file:line``.
    """
    files = read_layers(path)
    try:
        return kind.model_validate(merged(layer.tree for layer in files))
    except ValidationError as error:
        first = error.errors()[0]
        loc = tuple(part for part in first["loc"] if isinstance(part, str))
        why, others = fault_of(first), error.error_count() - 1
        if others:
            why = Text("detail.and_more", reason=why, others=others)
        place = f"{place_of(files, loc)}: {'.'.join(loc) or 'file'}"
        raise ConfigError(Text("detail.at", place=place, reason=why)) from error
    except (ValueError, RecursionError) as error:  # a nesting too deep
        raise _not_toml(path, error) from error


def fault_of(error_details: ErrorDetails) -> Text:
    """The text ``value.<type>`` of pydantic's error. A type without a text is quoted in English."""
    facts, error = error_details.get("ctx", {}), error_details.get("ctx", {}).get("error")
    if isinstance(error, WrongValueError):
        return error.text
    if "expected" in facts:  # of a closed set: 'a', 'b' or 'c'
        facts = {"expected": str(facts["expected"]).replace(" or ", ", ")}
    key = f"value.{error_details['type']}"
    if isinstance(error_details["input"], int | float) and {"ge", "gt", "le", "lt"} & set(facts):
        return Text("value.out_of_range", reason=Text(key, **facts), found=error_details["input"])
    return Text(key, **facts) if has_text(key) else Text("value.other", message=error_details["msg"])


def read_layers(path: Path) -> tuple[Layer, ...]:
    """The files of a config, in the order of ``toml_layers.layers``. Raises ``ConfigError``, as ``load``."""
    return tuple(_layer(file) for file in layers(path))


def _layer(path: Path) -> Layer:
    text = text_of(path)
    try:
        return Layer(path, text, tomllib.loads(text))
    except (ValueError, RecursionError) as error:  # also: a number too long, a nesting too deep
        raise _not_toml(path, error) from error


def _not_toml(path: Path, error: Exception) -> ConfigError:
    """``file:line: not TOML: reason``; without the line where the parser names none."""
    line = re.search(r"\(at line (\d+), column \d+\)", str(error))
    place = f"{path}:{line[1]}" if line else str(path)
    return ConfigError(
        Text("detail.not_toml", path=place, reason=reason_of(error)), fix=Text("fix.config_not_toml")
    )


def origin(files: tuple[Layer, ...], loc: tuple[str, ...]) -> Layer:
    """The file with the value in force: the last file that sets the key, or the longest start of its path."""
    for length in range(len(loc), 0, -1):
        for layer in files[::-1]:
            if sets(layer.tree, loc[:length]):
                return layer
    return files[0]


def place_of(files: tuple[Layer, ...], loc: tuple[str, ...]) -> str:
    """``file:line`` of the value in force; the file alone when no line has the key or its table."""
    file = origin(files, loc)
    line = line_of(file.text, loc) or line_of(file.text, loc[:1])
    return f"{file.path}:{line}" if line else f"{file.path}"


def text_of(path: Path) -> str:
    """The text of a config file.

    Raises ``ConfigError``: unreadable, too large, not UTF-8, or with a byte order mark.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Text("detail.unreadable", path=path, reason=reason_of(error)), code="config_unreadable"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(Text("detail.config_too_large", path=path, size=len(raw), limit=MAX_FILE_BYTES))
    if raw.startswith(BYTE_ORDER_MARKS):
        raise ConfigError(Text("detail.config_bom", path=path), fix=Text("fix.save_utf8_without_bom"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        why = Text("detail.config_not_utf8", path=path, line=line, byte=f"{raw[error.start]:02x}")
        raise ConfigError(why, fix=Text("fix.config_not_utf8")) from error


def line_of(text: str, loc: tuple[str, ...]) -> int | None:
    """Line (from 1) of a key in a TOML text; the line of its table if the key is absent; None if neither.

    Finds ``[table]`` headers and ``key =`` lines only, which is enough for config files.
    """
    line_number: int | None = None
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            if table == loc[: len(table)] and line_number is None:
                line_number = number
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            path = table + tuple(part.strip("\"'") for part in key[1].split("."))
            if path == loc[: len(path)]:
                return number
    return line_number
