"""Decoding of answers: one form is a similarity, every other form is a named error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import (
    ApiFailure,
    CompareAnswer,
    failure_body,
    parse_answer,
    picture_format,
    success_body,
)
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry
from tests.texts import en

PAGE_SAMPLE = (
    b'{\n  "data":{\n    "similarity":100.0,\n    "session_id":""\n  },\n  "code":0,\n  "message":"OK"\n}'
)
REASONS = {str(reason) for reason in Reason}


def ok(similarity: str, *, more: str = "") -> bytes:
    return f'{{"data":{{"similarity":{similarity},"session_id":"s"}},"code":0,"message":"OK"{more}}}'.encode()


def test_documented_sample_is_decoded() -> None:
    assert parse_answer(200, PAGE_SAMPLE) == CompareAnswer(100.0, "")


def test_encoded_success_equals_the_documented_sample_without_spaces() -> None:
    assert success_body(100, "") == PAGE_SAMPLE.replace(b"\n", b"").replace(b" ", b"")


@pytest.mark.parametrize("text", ["0", "0.0", "74.99", "100", "1e2", "99.999999999999999999"])
def test_similarity_on_the_scale_is_accepted(text: str) -> None:
    assert parse_answer(200, ok(text)).similarity == float(text)


def test_missing_session_id_is_accepted() -> None:
    assert parse_answer(200, b'{"data":{"similarity":1},"code":0}') == CompareAnswer(1.0, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"OK",
        b"null",
        b"100",
        b"[]",
        b"{}",
        b"<html><body>502 Bad Gateway</body></html>",
        ok("91")[:-1],  # truncated
        ok("91") + ok("91"),
        b"\xff\xfe" + ok("91"),
        ok("NaN"),
        ok("Infinity"),
        ok("-Infinity"),
        ok("1e999"),
        ok("-0.01"),
        ok("100.01"),
        ok("1" + "0" * 400),
        ok("1" * 5_000),
        ok("true"),
        ok("null"),
        ok('"91"'),
        ok("[91]"),
        ok("91", more=',"code":0'),  # repeated key
        ok("91").replace(b'"session_id":"s"', b'"similarity":12'),
        ok("91").replace(b'"code":0', b'"code":false'),
        ok("91").replace(b'"code":0', b'"code":"0"'),
        ok("91").replace(b'"code":0', b'"code":0.0'),
        ok("91").replace(b'"code":0', b'"code":null'),
        ok("91").replace(b'"code":0', b'"code":' + b"9" * 300),
        ok("91").replace(b',"code":0', b""),
        ok("91").replace(b'"session_id":"s"', b'"session_id":7'),
        ok("91").replace(b'"session_id":"s"', b'"session_id":"a\\nb"'),
        ok("91").replace(b'"session_id":"s"', b'"session_id":"' + b"x" * 300 + b'"'),
        ok("91").replace(b'"data"', b'"date"'),
        b'{"data":[91],"code":0,"message":"OK"}',
        b"[" * 100_000,
        b'{"data":' * 50_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_any_other_body_with_http_200_is_malformed(body: bytes) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, body)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_MALFORMED, Retry.NEVER)


@pytest.mark.parametrize("status", [100, 201, 204, 206, 302, 404, 500])
def test_success_without_http_200_is_malformed(status: int) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(status, PAGE_SAMPLE)
    assert caught.value.code == Reason.COMPARE_MALFORMED


@pytest.mark.parametrize(
    ("status", "reason", "retry"),
    [
        (502, Reason.COMPARE_FAILED, Retry.BACKOFF),
        (503, Reason.COMPARE_FAILED, Retry.BACKOFF),
        (429, Reason.COMPARE_BUSY, Retry.BACKOFF),
        (404, Reason.COMPARE_CONFIG, Retry.NEVER),
        (301, Reason.COMPARE_CONFIG, Retry.NEVER),
    ],
)
def test_html_of_a_proxy_is_mapped_by_its_status(status: int, reason: Reason, retry: Retry) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(status, b"<html>sorry</html>")
    assert (caught.value.code, caught.value.retry, caught.value.api_code) == (reason, retry, None)


def test_http_413_of_a_proxy_names_the_limit_of_the_body() -> None:
    """nginx accepts bodies of 1 MB unless it is configured."""
    with pytest.raises(CompareError) as raised:
        parse_answer(413, b"<html><h1>413 Request Entity Too Large</h1></html>")
    assert raised.value.code == Reason.COMPARE_CONFIG
    assert "client_max_body_size" in str(raised.value.fix)


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_failure_is_decoded_with_any_http_status(status: int) -> None:
    body = failure_body(ApiFailure(-1101, fail_flag=2), "abc")
    assert body == (
        b'{"data":{"session_id":"abc","fail_flag":2},"code":-1101,"message":"SDK_IMAGE_FACEDETECT_FAILED"}'
    )
    with pytest.raises(CompareError) as caught:
        parse_answer(status, body)
    error = caught.value
    assert (error.code, error.retry) == (Reason.REFERENCE_UNUSABLE, Retry.NEVER)
    assert (error.api_code, error.session_id) == (-1101, "abc")
    assert "re-enrol" in en(error.fix)


@pytest.mark.parametrize("flag", ["true", '"2"', "null", "2.0", "[2]"])
def test_invalid_fail_flag_is_ignored(flag: str) -> None:
    body = f'{{"data":{{"fail_flag":{flag}}},"code":-1101}}'.encode()
    with pytest.raises(CompareError) as caught:
        parse_answer(200, body)
    assert caught.value.code == Reason.FACE_UNUSABLE


def test_suspended_account_has_the_documented_message() -> None:
    assert json.loads(failure_body(ApiFailure(3), ""))["message"] == "account abnormal,errorno is:2"


def test_error_text_contains_no_foreign_text() -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, b'{"code":14,"message":"key=SECRET"}')
    assert "SECRET" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "code", "similarity", "session_id", "fail_flag", "message"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
near_answers = st.fixed_dictionaries(
    {"code": st.sampled_from([0, 0, 15, -1101]) | json_values},
    optional={
        "data": st.fixed_dictionaries(
            {}, optional={"similarity": st.floats() | json_values, "session_id": json_values}
        ),
        "message": json_values,
    },
)


@given(
    st.sampled_from([200, 200, 400, 502]),
    st.binary(max_size=200) | (near_answers | json_values).map(lambda tree: json.dumps(tree).encode()),
)
def test_any_answer_is_a_similarity_or_a_named_error(status: int, body: bytes) -> None:
    try:
        answer = parse_answer(status, body)
    except CompareError as error:
        assert error.code in REASONS
    else:
        assert status == 200
        assert 0 <= answer.similarity <= 100
        assert json.loads(body)["data"]["similarity"] == answer.similarity


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"BM", "bmp"),
        (b"GIF89a", None),
        (b"RIFF\0\0\0\0WEBP", None),
        (b"", None),
        (b"<html>", None),
    ],
)
def test_picture_formats(head: bytes, kind: str | None) -> None:
    assert picture_format(head) == kind
