"""Values put into a config file's text, with its comments kept. Changes nothing it does not understand."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from agent.errors import ConfigError
from agent.texts import Text

Value = str | int | bool | list[str]


def fill(text: str, values: Mapping[str, Value]) -> str:
    """``values`` by ``key`` or ``section.key``; a key that is absent or commented out is set in its section.

    Raises:
        ConfigError: the result would not be the old file with just these values changed.
    """
    wanted = tomllib.loads(text)
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (wanted.setdefault(section, {}) if section else wanted)[name] = value
        text = _put(text, section, name, value)
    try:
        right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigError(
            f"{', '.join(values)}: cannot be set in this file",
            fix=Text("fix.set_keys_by_hand"),
        )
    return text


def _put(text: str, section: str, name: str, value: Value) -> str:
    lines = text.splitlines()
    table, found, commented, header = "", -1, -1, -1 if section else 0
    for number, line in enumerate(lines):
        if match := re.match(r"\s*\[\s*([^\]\[]+?)\s*\]", line):
            table = match[1]
            header = number + 1 if table == section else header
        elif table == section and re.match(rf"\s*{name}\s*=", line):
            found = number
        elif table == section and re.match(rf"#\s*{name}\s*=", line):
            commented = number
    made = f"{name} = {_toml(value)}"
    if found >= 0:
        lines[found] = made + _comment(lines[found])
    elif commented >= 0:
        lines[commented] = made
    elif header >= 0:
        lines.insert(header, made)
    else:
        lines += ["", f"[{section}]", made]
    return "\n".join(lines) + "\n"


def _toml(value: Value) -> str:
    """TOML of these kinds of value is JSON."""
    return json.dumps(value, ensure_ascii=False)


def _comment(line: str) -> str:
    for place in (match.start() for match in re.finditer("#", line)):
        try:
            found: dict[str, Any] = tomllib.loads(line[:place])
        except tomllib.TOMLDecodeError:
            continue  # the mark stands inside a value
        return f"   {line[place:]}" if found else ""
    return ""
