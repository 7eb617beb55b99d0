"""Sets values in the text of a config file and keeps its comments."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from agent.errors import ConfigError
from agent.texts import Text

Value = str | int | bool | list[str]


def set_values(text: str, values: Mapping[str, Value]) -> str:
    """The text with ``values``, by ``key`` or ``section.key``. An absent key is added.

    Raises:
        ConfigError: the result would not be TOML, or would change another value.
    """
    wanted = tomllib.loads(text)
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (wanted.setdefault(section, {}) if section else wanted)[name] = value
        text = _set_value(text, section, name, value)
    try:
        as_expected = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        as_expected = False
    if not as_expected:
        why = Text("detail.keys_not_settable", keys=", ".join(values))
        raise ConfigError(why, fix=Text("fix.set_keys_by_hand"))
    return text


def _set_value(text: str, section: str, name: str, value: Value) -> str:
    lines = text.splitlines()
    table, active, commented, header = "", -1, -1, -1 if section else 0
    for number, line in enumerate(lines):
        if match := re.match(r"\s*\[\s*([^\]\[]+?)\s*\]", line):
            table = match[1]
            header = number + 1 if table == section else header
        elif table == section and re.match(rf"\s*{name}\s*=", line):
            active = number
        elif table == section and re.match(rf"#\s*{name}\s*=", line):
            commented = number
    new_line = f"{name} = {json.dumps(value, ensure_ascii=False)}"  # for these types, JSON is TOML
    if active >= 0:
        lines[active] = new_line + _comment(lines[active])
    elif commented >= 0:
        lines[commented] = new_line
    elif header >= 0:
        lines.insert(header, new_line)
    else:
        lines += ["", f"[{section}]", new_line]
    return "\n".join(lines) + "\n"


def _comment(line: str) -> str:
    """The comment at the end of a line with a value; empty: none."""
    for place in (match.start() for match in re.finditer("#", line)):
        try:
            active: dict[str, Any] = tomllib.loads(line[:place])
        except tomllib.TOMLDecodeError:
            continue  # the # is inside a value
        return f"   {line[place:]}" if active else ""
    return ""
