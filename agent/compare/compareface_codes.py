"""The error codes of ``CompareFace``, and their mapping to reason, retry advice and text. Package data.

Unlike the 2018 API, an error does not name the image at fault. The table assigns an error of size,
resolution, decoding or download to the enrolled photo, because the terminal itself found the face in the shot
and encoded the shot. Every other image error requests a new shot, and its text names both images.
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
    """One row. ``fix`` is for the cashier."""

    meaning: str
    reason: Reason
    retry: Retry
    fix: Text


@cache
def table() -> dict[str, CompareFaceCode]:
    """All known codes by name. Read from package data on first use."""
    with resources.data("compareface_codes.toml").open("rb") as file:
        tree = tomllib.load(file)
    return {name: _row(row) for name, row in tree.items()}


def _row(row: dict[str, str]) -> CompareFaceCode:
    fix = Text(f"compareface.{row['words']}")
    return CompareFaceCode(row["meaning"], Reason(row["reason"]), Retry(row["retry"]), fix)


def failure(name: str, session_id: str) -> CompareError:
    """The error for one code. An unknown code is never retried, and is quoted only if it is well-formed."""
    row = table().get(name)
    if row is None:
        shown = name if _PRINTABLE.fullmatch(name) else "unprintable"
        return CompareError(
            f"CompareFace error {shown}: unknown to this version",
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
