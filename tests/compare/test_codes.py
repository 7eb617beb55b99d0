"""The mapping of answer codes to reason, retry advice and text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.codes import meaning_of, table
from agent.core.reasons import Reason
from agent.errors import Retry
from tests.texts import en, zh

# The codes on the documentation page of the API.
PAGE = [
    *(3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 21, 23, 107, 108, 213),
    *range(-1109, -1100),
    -1200,
    *range(-1312, -1299),
    *(-1400, -1403),
]


def test_every_code_of_the_page_is_known() -> None:
    assert len(PAGE) == 42
    assert set(PAGE) <= table().keys()


def test_every_code_has_texts_in_both_languages() -> None:
    for code in table().values():
        assert en(code.fix) and zh(code.fix) and code.meaning, code.number
        assert en(code.fix).isascii() and not zh(code.fix).isascii(), code.number


@pytest.mark.parametrize(
    ("code", "flag", "reason", "retry"),
    [
        # the payer can help
        (-1101, 1, Reason.FACE_UNUSABLE, Retry.NEW_SHOT),
        (-1101, None, Reason.FACE_UNUSABLE, Retry.NEW_SHOT),
        (-1103, 1, Reason.FACE_UNUSABLE, Retry.NEW_SHOT),
        (-1300, 1, Reason.FACE_UNUSABLE, Retry.NEW_SHOT),
        # the enrolled photo is unusable: another pose does not help
        (-1101, 2, Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (-1102, 2, Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (-1103, 2, Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (-1400, 2, Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (-1408, 2, Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (-1305, None, Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        # the download failed: no new enrolment is needed
        (-1308, 2, Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (-1403, 2, Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (-1505, 2, Reason.REFERENCE_UNREACHABLE, Retry.NEVER),
        (-1506, 2, Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (-1507, None, Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (-1308, 1, Reason.COMPARE_FAILED, Retry.BACKOFF),
        # the clock
        (9, None, Reason.CLOCK, Retry.RESIGN),
        (13, None, Reason.CLOCK, Retry.RESIGN),
        # busy, broken
        (15, None, Reason.COMPARE_BUSY, Retry.BACKOFF),
        (107, None, Reason.COMPARE_FAILED, Retry.BACKOFF),
        (108, None, Reason.COMPARE_FAILED, Retry.BACKOFF),
        (213, None, Reason.COMPARE_FAILED, Retry.BACKOFF),
        (-1200, None, Reason.COMPARE_FAILED, Retry.BACKOFF),
        # the operator
        (3, None, Reason.COMPARE_ACCOUNT, Retry.NEVER),
        (24, None, Reason.COMPARE_ACCOUNT, Retry.NEVER),
        (25, None, Reason.COMPARE_ACCOUNT, Retry.NEVER),
        (10, None, Reason.COMPARE_CONFIG, Retry.NEVER),
        (16, None, Reason.COMPARE_CONFIG, Retry.NEVER),
        (6, None, Reason.COMPARE_CONFIG, Retry.NEVER),
        (11, None, Reason.COMPARE_CREDENTIALS, Retry.NEVER),
        (12, None, Reason.COMPARE_CREDENTIALS, Retry.NEVER),
        (14, None, Reason.COMPARE_CREDENTIALS, Retry.NEVER),
        # unknown
        (4711, None, Reason.COMPARE_UNKNOWN_CODE, Retry.NEVER),
        (0, 2, Reason.COMPARE_UNKNOWN_CODE, Retry.NEVER),  # code 0 is not a failure
    ],
)
def test_code_to_reason_and_retry(code: int, flag: int | None, reason: Reason, retry: Retry) -> None:
    assert (meaning_of(code, flag).reason, meaning_of(code, flag).retry) == (reason, retry)


def test_text_for_an_unusable_enrolled_photo_is_not_addressed_to_the_payer() -> None:
    assert "re-enrol" in en(meaning_of(-1101, 2).fix)
    assert "重新登记" in zh(meaning_of(-1101, 2).fix)
    assert "face the camera" in en(meaning_of(-1101, 1).fix)


@given(st.one_of(st.sampled_from(sorted(table())), st.integers()), st.integers() | st.none())
def test_unusable_enrolled_photo_never_requests_another_pose(code: int, flag: int | None) -> None:
    assert meaning_of(code, 2).retry is not Retry.NEW_SHOT
    assert isinstance(meaning_of(code, flag).reason, Reason)
    if code not in table():
        assert meaning_of(code, flag).retry is Retry.NEVER
