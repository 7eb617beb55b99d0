"""The error codes of ``CompareFace``: what each means for one verification. Package data, read once.

Unlike the 2018 API it does not say which image failed. The table reads it so: what cannot be true of a shot
that the terminal has found a face in, encoded and measured itself (size, resolution, decoding, download) is
about the enrolled photo; everything else about a picture asks for a new shot, and the words name both.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache

from agent import resources
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry
from agent.texts import Text

_PRINTABLE = re.compile(r"[A-Za-z0-9.]{1,80}")


@dataclass(frozen=True, slots=True)
class CompareFaceCode:
    """One row. ``fix`` is for the person at the counter."""

    meaning: str
    reason: Reason
    retry: Retry
    fix: Text


@cache
def table() -> dict[str, CompareFaceCode]:
    """All known codes by name."""
    with resources.data("compareface_codes.toml").open("rb") as file:
        tree = tomllib.load(file)
    return {name: _row(row) for name, row in tree.items()}


def _row(row: dict[str, str]) -> CompareFaceCode:
    fix = Text(f"compareface.{row['words']}")
    return CompareFaceCode(row["meaning"], Reason(row["reason"]), Retry(row["retry"]), fix)


def failure(name: str, session_id: str) -> CompareError:
    """The error for one code. An unknown one is never asked again, and quoted only if it looks like one."""
    row = table().get(name)
    if row is None:
        shown = name if _PRINTABLE.fullmatch(name) else "unprintable"
        return CompareError(
            f"CompareFace error {shown}: a code this version does not know",
            code=Reason.COMPARE_UNKNOWN_CODE,
            fix=Text("api_code.unknown", code=shown),
            session_id=session_id,
        )
    return CompareError(
        f"CompareFace error {name}: {row.meaning}",
        code=row.reason,
        fix=row.fix,
        retry=row.retry,
        session_id=session_id,
    )
