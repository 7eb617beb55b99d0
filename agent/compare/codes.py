"""The API's answer codes, and what each means for one verification.

The table is package data (``agent/data/codes.toml``); the rules that a flat table cannot say stand here:
a bad *enrolled* photo (``fail_flag`` 2) never asks the payer for another pose, a photo whose address failed
is not a photo to re-enrol, and an unknown code is never asked again.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from agent import resources
from agent.core.reasons import Reason
from agent.errors import Retry
from agent.texts import Text

SHOT_FLAG = 1  # fail_flag: the first image, the payer's shot
REFERENCE_FLAG = 2  # fail_flag: the second image, the enrolled photo

_DOWNLOAD_CODES = frozenset({-1308, -1403, -1505, -1506, -1507})
_ACCOUNT_CODES = frozenset({24})  # listed under credentials, but it is the contract that ended
_RATE_LIMIT = 15
_REFERENCE_WORDS = -1303  # whose words say: use another way to pay, re-enrol later
_DOWNLOAD_WORDS = -1308


@dataclass(frozen=True, slots=True)
class ApiCode:
    """One row. ``retry`` is None only for 0; ``en`` and ``zh`` are for the person at the counter."""

    number: int
    name: str
    meaning: str
    category: str
    retry: Retry | None
    fix: Text


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """What a code means once it is known which image it is about."""

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
    with resources.data("codes.toml").open("rb") as file:
        rows = tomllib.load(file)
    return {int(number): _row(int(number), row) for number, row in rows.items()}


def _row(number: int, row: dict[str, str]) -> ApiCode:
    retry = None if row["retry"] == "none" else Retry(row["retry"])
    return ApiCode(number, row["name"], row["meaning"], row["category"], retry, Text(f"api_code.{number}"))


def verdict(number: int, fail_flag: int | None = None) -> CodeMeaning:
    """What to do about a failure code (never 0). ``fail_flag`` is 1, 2 or None."""
    row = table().get(number)
    if row is None or row.retry is None:
        fix = Text("api_code.unknown", code=number)
        return CodeMeaning(Reason.COMPARE_UNKNOWN_CODE, Retry.NEVER, fix)
    if number in _DOWNLOAD_CODES and fail_flag != SHOT_FLAG:
        return CodeMeaning(Reason.REFERENCE_UNREACHABLE, row.retry, table()[_DOWNLOAD_WORDS].fix)
    if fail_flag == REFERENCE_FLAG and _about_the_picture(row):
        return CodeMeaning(Reason.REFERENCE_UNUSABLE, Retry.NEVER, table()[_REFERENCE_WORDS].fix)
    return CodeMeaning(_reason(row, fail_flag), row.retry, row.fix)


def _about_the_picture(row: ApiCode) -> bool:
    return row.category in ("image", "enrolment") or row.retry is Retry.NEW_SHOT


def _reason(row: ApiCode, fail_flag: int | None) -> Reason:
    if row.number == _RATE_LIMIT:
        return Reason.COMPARE_BUSY
    if row.number in _ACCOUNT_CODES:
        return Reason.COMPARE_ACCOUNT
    if fail_flag == SHOT_FLAG:
        if _about_the_picture(row):
            return Reason.FACE_UNUSABLE
        if row.category == "network":  # we never send the shot as a url: the provider's own trouble
            return Reason.COMPARE_FAILED
    return _CATEGORY_REASON[row.category]


def reason_for(number: int, fail_flag: int | None = None) -> Reason:
    return verdict(number, fail_flag).reason


def retry_for(number: int, fail_flag: int | None = None) -> Retry:
    return verdict(number, fail_flag).retry
