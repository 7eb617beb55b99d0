"""Strict parser for JSON from outside: ambiguous JSON is refused, so all readers get the same values."""

import json
import math
from typing import Any

from agent.errors import WrongValueError
from agent.texts import Text

_INTEGER_MAX_DIGITS = 18  # fits 64 bits with a sign


class KeyRepeatedError(WrongValueError):
    """A key occurs twice in one object."""


def loads(raw: bytes) -> object:
    """Parse UTF-8 JSON.

    Raises:
        ValueError: not UTF-8, not JSON, NaN or Infinity, a number outside the range of a float, an integer of
            more than 18 digits, a duplicate key in one object, or nesting beyond the recursion limit.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=unique_keys,
        )
    except RecursionError as error:
        raise WrongValueError(Text("detail.json_nested")) from error


def json_object(raw: object) -> dict[str, Any] | None:
    """The JSON object in bytes or a text; None: not UTF-8, invalid JSON, another JSON type, or no text."""
    try:
        tree = loads(raw.encode() if isinstance(raw, str) else raw) if isinstance(raw, str | bytes) else None
    except ValueError:
        return None
    return tree if isinstance(tree, dict) else None


def _refuse(name: str) -> object:
    raise WrongValueError(Text("detail.json_constant", name=name))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999
        raise WrongValueError(Text("detail.json_number"))
    return number


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _INTEGER_MAX_DIGITS:
        raise WrongValueError(Text("detail.json_integer"))
    return int(text)


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An ``object_pairs_hook``. Raises ``KeyRepeatedError``."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise KeyRepeatedError(Text("detail.json_key_repeated"))
    return result
