"""The answer codes of the 2018 API, and their mapping to reason, retry advice and text.

The table is package data (``agent/data/codes.toml``). This module adds the rules that need the ``fail_flag``:
an unusable *enrolled* photo (``fail_flag`` 2) never requests another pose; a failed download of the photo
does not request a new enrolment; an unknown code is never retried.
"""

import tomllib
from dataclasses import dataclass
from functools import cache

from agent import resources
from agent.core.reasons import Reason
from agent.errors import Retry
from agent.texts import Text

SHOT_FLAG = 1  # fail_flag: the first image, the shot
REFERENCE_FLAG = 2  # fail_flag: the second image, the enrolled photo

_DOWNLOAD_CODES = frozenset({-1308, -1403, -1505, -1506, -1507})
_ACCOUNT_CODES = frozenset({24})  # category credentials in the table, but the contract has ended
_RATE_LIMIT = 15
_REFERENCE_TEXT = -1303  # the code whose text is: pay in another way, enrol again later
_DOWNLOAD_TEXT = -1308


@dataclass(frozen=True, slots=True)
class ApiCode:
    """One row. ``retry`` is None only for code 0; ``fix`` is for the cashier."""

    number: int
    name: str
    meaning: Text
    category: str
    retry: Retry | None
    fix: Text


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """The meaning of a code for one image."""

    reason: Reason
    retry: Retry
    fix: Text


_CATEGORY_REASON = {
    "image": Reason.FACE_UNUSABLE,
    "enrolment": Reason.REFERENCE_UNUSABLE,
    "network": Reason.REFERENCE_UNREACHABLE,
    "quota": Reason.COMPARE_ACCOUNT,
    "clock": Reason.CLOCK,
    "credentials": Reason.COMPARE_CREDENTIALS,
    "terminal_config": Reason.COMPARE_CONFIG,
    "server": Reason.COMPARE_FAILED,
}


@cache
def table() -> dict[int, ApiCode]:
    """All known codes by number. Read from package data on first use."""
    rows = tomllib.loads(resources.data("codes.toml").read_text(encoding="utf-8"))
    return {int(number): _row(int(number), row) for number, row in rows.items()}


def _row(number: int, row: dict[str, str]) -> ApiCode:
    retry = None if row["retry"] == "none" else Retry(row["retry"])
    meaning = Text(f"api_meaning.{number}")
    return ApiCode(number, row["name"], meaning, row["category"], retry, Text(f"api_code.{number}"))


def meaning_of(number: int, fail_flag: int | None = None) -> CodeMeaning:
    """Map a failure code (never 0). ``fail_flag`` is 1, 2 or None."""
    row = table().get(number)
    if row is None or row.retry is None:
        return CodeMeaning(Reason.COMPARE_UNKNOWN_CODE, Retry.NEVER, Text("api_code.unknown", code=number))
    if number in _DOWNLOAD_CODES and fail_flag != SHOT_FLAG:
        return CodeMeaning(Reason.REFERENCE_UNREACHABLE, row.retry, table()[_DOWNLOAD_TEXT].fix)
    if fail_flag == REFERENCE_FLAG and _concerns_image(row):
        return CodeMeaning(Reason.REFERENCE_UNUSABLE, Retry.NEVER, table()[_REFERENCE_TEXT].fix)
    return CodeMeaning(_reason(row, fail_flag), row.retry, row.fix)


def _concerns_image(row: ApiCode) -> bool:
    return row.category in ("image", "enrolment") or row.retry is Retry.NEW_SHOT


def _reason(row: ApiCode, fail_flag: int | None) -> Reason:
    if row.number == _RATE_LIMIT:
        return Reason.COMPARE_BUSY
    if row.number in _ACCOUNT_CODES:
        return Reason.COMPARE_ACCOUNT
    if fail_flag == SHOT_FLAG:
        if _concerns_image(row):
            return Reason.FACE_UNUSABLE
        if row.category == "network":  # the shot is never sent as a url, so the provider failed
            return Reason.COMPARE_FAILED
    return _CATEGORY_REASON[row.category]
