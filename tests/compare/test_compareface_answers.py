"""Decoding of CompareFace answers: one form is a score, every other form is a named error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.iai.v20200303 import errorcodes

from agent.compare.compareface import parse_answer, table
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry
from tests.compare.test_compareface import SUCCESS
from tests.texts import en, zh


def score(text: str, more: str = "") -> bytes:
    return f'{{"Response":{{"Score":{text},"FaceModelVersion":"3.0","RequestId":"r"{more}}}}}'.encode()


@pytest.mark.parametrize("text", ["0", "0.0", "49.99", "100", "1e2"])
def test_numbers_of_the_scale(text: str) -> None:
    assert parse_answer(200, score(text)).similarity == float(text)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"OK", b"null", b"[]", b"{}", b"<html>", SUCCESS[:-1], SUCCESS * 2, b"\xff" + SUCCESS,
        score("NaN"), score("Infinity"), score("-0.01"), score("100.01"), score("1e999"), score("1" * 5_000),
        score("true"), score("null"), score('"91"'), score("[91]"), score("91", ',"Score":12'),
        score("91", ',"Error":null'), score("91", ',"Error":{}'),
        score("91", ',"Error":{"Code":"InternalError","Message":""}'),
        b'{"Response":{"FaceModelVersion":"3.0","RequestId":"r"}}',
        b'{"Response":{"Error":{"Message":"no code"}}}', b'{"Response":{"Error":{"Code":7}}}',
        b'{"Response":{"Error":"InternalError"}}', b'{"Response":[91]}', b'{"Response":null}',
        b'{"Score":91,"FaceModelVersion":"3.0","RequestId":"r"}',
        SUCCESS.replace(b'"3.0"', b'"2.0"'), SUCCESS.replace(b'"3.0"', b"3.0"),
        SUCCESS.replace(b'"FaceModelVersion":"3.0",', b""),
        SUCCESS.replace(b'"r-1"', b"7"), SUCCESS.replace(b"r-1", b"a\\nb"),
        SUCCESS.replace(b"r-1", b"x" * 300),
        # a success of the other provider
        b'{"data":{"similarity":91.5,"session_id":"s1"},"code":0,"message":"OK"}',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:48]),
)  # fmt: skip
def test_any_other_body_is_malformed(body: bytes) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, body)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_MALFORMED, Retry.NEVER)


def error(name: str, message: str = "text") -> bytes:
    return json.dumps(
        {"Response": {"Error": {"Code": name, "Message": message}, "RequestId": "r-2"}}
    ).encode()


@pytest.mark.parametrize(
    ("name", "reason", "retry"),
    [
        ("InvalidParameterValue.NoFaceInPhoto", Reason.FACE_UNUSABLE, Retry.NEW_SHOT),
        ("FailedOperation.ImageResolutionExceed", Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        ("FailedOperation.ImageDownloadError", Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        ("RequestLimitExceeded", Reason.COMPARE_BUSY, Retry.BACKOFF),
        ("FailedOperation.ServerError", Reason.COMPARE_FAILED, Retry.BACKOFF),
        ("ResourceUnavailable.InArrears", Reason.COMPARE_ACCOUNT, Retry.NEVER),
        ("AuthFailure.SignatureFailure", Reason.COMPARE_CREDENTIALS, Retry.NEVER),
        ("AuthFailure.SignatureExpire", Reason.CLOCK, Retry.RESIGN),
        ("UnsupportedRegion", Reason.COMPARE_CONFIG, Retry.NEVER),
        ("Something.NewInLaterYears", Reason.COMPARE_UNKNOWN_CODE, Retry.NEVER),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_each_error_has_a_reason_with_any_http_status(
    name: str, reason: Reason, retry: Retry, status: int
) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(status, error(name, "SECRET"))
    assert (caught.value.code, caught.value.retry, caught.value.session_id) == (reason, retry, "r-2")
    assert name in str(caught.value) and "SECRET" not in str(caught.value)
    assert caught.value.fix


def test_unprintable_error_code_is_not_quoted() -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, error("\x1b[2J刷"))
    assert "\x1b" not in str(caught.value) + en(caught.value.fix)


def test_a_score_needs_http_200() -> None:
    for status in (201, 302, 500):
        with pytest.raises(CompareError) as caught:
            parse_answer(status, SUCCESS)
        assert caught.value.code == Reason.COMPARE_MALFORMED


# Codes of person libraries, searches and other actions: never an answer of CompareFace.
OTHER_ACTIONS = (
    "Group", "Person", "Search", "LifePhoto", "UpgradeJob", "JobCann", "CreateFace", "FaceNum",
    "FaceMatchThreshold", ".LimitExceed", "OffsetExceed", "AcrossVersions", "ConflictOperation",
)  # fmt: skip


def test_table_has_every_code_of_the_sdk_for_this_action() -> None:
    theirs = {value for name, value in vars(errorcodes).items() if name.isupper()}
    missing = {name for name in theirs - set(table()) if not any(part in name for part in OTHER_ACTIONS)}
    assert not missing


def test_every_row_has_texts_in_both_languages() -> None:
    for name, row in table().items():
        assert en(row.fix).isascii() and en(row.fix).endswith("."), name
        assert zh(row.fix).endswith("。"), name
        assert row.meaning, name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
near_answers = st.fixed_dictionaries(
    {},
    optional={
        "Score": st.floats(min_value=0, max_value=100) | json_values,
        "FaceModelVersion": st.sampled_from(["3.0", "3.0", "2.0"]) | json_values,
        "RequestId": st.text(max_size=300) | json_values,
        "Error": st.fixed_dictionaries({"Code": st.sampled_from(sorted(table())) | json_values})
        | json_values,
    },
)


@given(
    st.sampled_from([200, 200, 400, 502]),
    st.binary(max_size=200)
    | (near_answers.map(lambda found: {"Response": found}) | json_values).map(
        lambda tree: json.dumps(tree).encode()
    ),
)
def test_any_answer_is_a_score_of_model_3_or_a_named_error(status: int, body: bytes) -> None:
    try:
        answer = parse_answer(status, body)
    except CompareError as error:
        assert error.code in {str(reason) for reason in Reason}
    else:
        found = json.loads(body)["Response"]
        assert status == 200 and "Error" not in found and found["FaceModelVersion"] == "3.0"
        assert 0 <= answer.similarity <= 100
        assert found["Score"] == answer.similarity
