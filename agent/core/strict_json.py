"""JSON from somebody else: stricter than ``json.loads``, so that no two readers can see different things."""

from __future__ import annotations

import json
import math


def loads(raw: bytes) -> object:
    """Parse UTF-8 JSON.

    Raises:
        ValueError: not UTF-8, not JSON, NaN or Infinity, a number out of a float's range, an integer of more
            than 18 digits, a key twice in one object, or nested too deeply to be meant seriously.
    """
    try:
        return json.loads(
            raw.decode("utf-8"),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_once_each,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999
        raise ValueError("number out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > 19:
        raise ValueError("integer out of range")
    return int(text)


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
