"""CompareFace of the embedded service over real HTTP: the header, the signature, the body, the pictures."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.kits.compare.images import blank_png
from agent.service.compare_service import CompareService
from agent.service.compareface_api import score
from agent.service.compareface_body import parse
from agent.service.recogniser import KNOTS
from tests.service.compareface_kit import base_url, call, error, fields, signed_headers
from tests.service.kit import APPID, SECRET_ID, account, files, post, running, slow_machine_config
from tests.service.pictures import photo, plain

SHOT, PHOTO, OTHER = photo("obama_podium"), photo("obama_portrait"), photo("biden_portrait")
A, B = (base64.b64encode(picture).decode() for picture in (SHOT, PHOTO))
PAIR = fields(SHOT, PHOTO)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompareService]:
    missing = tmp_path_factory.mktemp("keys") / "removed"
    missing.write_bytes(b"k" * 32)
    keyless = account("KEYLESS", appid="5", example=False, secret_key_file=missing)
    accounts = (
        account(SECRET_ID, buckets=("terminals",)),
        account("SUSPENDED", appid="2", suspended=True),
        account("ONCE", appid="3", single_use=True),
        account("SLOW", appid="4", rate_per_s=0.001, burst=1),
        keyless,
    )
    with running(slow_machine_config(accounts=accounts, body_timeout_ms=1_500)) as made:
        missing.unlink()
        yield made


def metrics(service: CompareService) -> str:
    with httpx.Client(trust_env=False) as http:
        return http.get(base_url(service) + "/metrics").text


def test_score_agrees_with_the_similarity_of_2018(service: CompareService) -> None:
    for first, second in ((SHOT, PHOTO), (OTHER, PHOTO)):
        answer = call(service, fields(first, second))
        similarity = post(service, **files(first, second))["data"]["similarity"]
        assert (answer["Score"], answer["FaceModelVersion"]) == (score(similarity), "3.0")
    assert answer["Score"] < 40
    assert call(service, PAIR)["Score"] > 60


def test_scale_has_equal_error_rates_and_is_monotonic() -> None:
    assert [score(at) for at in (0, 70, 80, 90, 100)] == [0, 40, 50, 60, 100]
    values = [score(at / 10) for at in range(1_001)]
    assert values == sorted(values)
    assert {value for _, value in KNOTS} == {0, 70, 80, 90, 100}, "the scales share their knots"


HEADERS: list[tuple[str, dict[str, str], str]] = [
    ("no authorization", {"Authorization": ""}, "AuthFailure.InvalidAuthorization"),
    ("2018's form", {"Authorization": "QUtJRA=="}, "AuthFailure.InvalidAuthorization"),
    ("too long", {"Authorization": "TC3-HMAC-SHA256 " + "x" * 3_000}, "AuthFailure.InvalidAuthorization"),
    ("no timestamp", {"X-TC-Timestamp": ""}, "MissingParameter"),
    ("a timestamp that is no number", {"X-TC-Timestamp": "1e9"}, "AuthFailure.InvalidAuthorization"),
    ("a timestamp of another day", {"X-TC-Timestamp": "86400"}, "AuthFailure.InvalidAuthorization"),
    ("a timestamp beyond any calendar", {"X-TC-Timestamp": "9" * 10}, "AuthFailure.InvalidAuthorization"),
    ("no action", {"X-TC-Action": ""}, "MissingParameter"),
    ("another action", {"X-TC-Action": "DetectFace"}, "InvalidAction"),
    ("an action in lower case", {"X-TC-Action": "compareface"}, "InvalidAction"),
    ("no version", {"X-TC-Version": ""}, "MissingParameter"),
    ("another version", {"X-TC-Version": "2018-03-01"}, "NoSuchVersion"),
    ("no region", {"X-TC-Region": "Mars/1"}, "UnsupportedRegion"),
    ("a temporary key", {"X-TC-Token": "token"}, "AuthFailure.TokenFailure"),
    ("a form", {"Content-Type": "multipart/form-data; boundary=x"}, "InvalidRequest"),
]


@pytest.mark.parametrize(("headers", "code"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_wrong_header_is_refused_by_name(service: CompareService, headers: dict[str, str], code: str) -> None:
    assert error(call(service, PAIR, headers)) == code


SIGNINGS: list[tuple[str, dict[str, Any], str]] = [
    ("unknown id", {"secret_id": "AKIDUNKNOWN"}, "AuthFailure.SecretIdNotFound"),
    ("another key", {"key": b"guessed"}, "AuthFailure.SignatureFailure"),
    ("expired", {"age_s": 330}, "AuthFailure.SignatureExpire"),
    ("from the future", {"age_s": -330}, "AuthFailure.SignatureExpire"),
    ("another day in the scope", {"date": "2020-01-01"}, "AuthFailure.InvalidAuthorization"),
    ("another service", {"scope": "cvm/tc3_request"}, "AuthFailure.InvalidAuthorization"),
    ("another end of the scope", {"scope": "iai/tc4_request"}, "AuthFailure.InvalidAuthorization"),
    ("suspended", {"secret_id": "SUSPENDED"}, "ResourceUnavailable.InArrears"),
    ("key file removed", {"secret_id": "KEYLESS"}, "ResourceUnavailable.GetAuthInfoError"),
]


@pytest.mark.parametrize(("signing", "code"), [row[1:] for row in SIGNINGS], ids=[row[0] for row in SIGNINGS])
def test_wrong_signature_is_refused_by_name(
    service: CompareService, signing: dict[str, Any], code: str
) -> None:
    assert error(call(service, PAIR, **signing)) == code


@pytest.mark.parametrize("age_s", [-240, 0, 240])
def test_five_minutes_of_clock_difference_are_accepted(service: CompareService, age_s: int) -> None:
    assert call(service, PAIR, age_s=age_s)["Score"] > 60


def test_signature_of_another_body_or_header_is_refused(service: CompareService) -> None:
    stolen = signed_headers(base_url(service), json.dumps(PAIR).encode())
    assert error(call(service, fields(OTHER, OTHER), stolen)) == "AuthFailure.SignatureFailure"
    changed = stolen["Authorization"][:-1] + ("0" if stolen["Authorization"][-1] != "0" else "1")
    assert error(call(service, PAIR, {"Authorization": changed})) == "AuthFailure.SignatureFailure"
    other = stolen | {"Content-Type": "application/json; charset=utf-8"}
    assert error(call(service, PAIR, other)) == "AuthFailure.SignatureFailure"
    unsigned_host = stolen["Authorization"].replace("content-type;host", "content-type")
    assert error(call(service, PAIR, {"Authorization": unsigned_host})) == "AuthFailure.InvalidAuthorization"


def test_further_signed_headers_count(service: CompareService) -> None:
    more = {"x-tc-action": "CompareFace", "x-tc-region": "ap-singapore"}
    assert call(service, PAIR, more=more)["Score"] > 60
    moved = call(service, PAIR, {"x-tc-region": "ap-shanghai"}, more=more)
    assert error(moved) == "AuthFailure.SignatureFailure"


def test_single_use_signature_is_refused_the_second_time(service: CompareService) -> None:
    url, body = base_url(service), json.dumps(PAIR).encode()
    once, many = (signed_headers(url, body, secret_id=name) for name in ("ONCE", SECRET_ID))
    assert [("Score" in call(service, PAIR, once)) for _ in range(2)] == [True, False]
    assert all("Score" in call(service, PAIR, many) for _ in range(2)), "other accounts: multi-use"


def test_rate_is_used_by_genuine_signatures_only_and_shared_with_2018(service: CompareService) -> None:
    for _ in range(3):
        assert error(call(service, PAIR, secret_id="SLOW", key=b"x")) == "AuthFailure.SignatureFailure"
    assert "Score" in call(service, PAIR, secret_id="SLOW")
    assert error(call(service, PAIR, secret_id="SLOW")) == "RequestLimitExceeded.UinLimitExceeded"
    assert 'facepay_service_account_answers_total{appid="4",code="15"}' in metrics(service)


BIG = "A" * 5_000_004
DECODE, DOWNLOAD = "FailedOperation.ImageDecodeFailed", "FailedOperation.ImageDownloadError"
EMPTY, URL, INVALID = (
    "InvalidParameterValue.ImageEmpty",
    "InvalidParameterValue.UrlIllegal",
    "InvalidParameter",
)
BODIES: list[tuple[str, bytes | dict[str, object], str]] = [
    ("no body", b"", INVALID),
    ("broken", b'{"ImageA":', INVALID),
    ("a list", b"[]", INVALID),
    ("not UTF-8", b'{"UrlA":"\xff"}', INVALID),
    ("deep", b"[" * 60_000, INVALID),
    ("an image twice", f'{{"ImageA":"{A}","ImageA":"{A}","ImageB":"{B}"}}'.encode(), INVALID),
    ("an image twice, escaped", f'{{"ImageA":"{A}","Image\\u0041":"","ImageB":"{B}"}}'.encode(), INVALID),
    ("a url twice", b'{"UrlA":"http://a/","UrlA":"http://b/"}', INVALID),
    ("an image in an object", {"UrlA": {"ImageA": A}, "ImageB": B}, INVALID),
    ("an image in an unknown object", {"Images": {"ImageA": A}, "ImageB": B}, "UnknownParameter"),
    ("form feed between name and value", b'{"ImageA"\x0c:"","ImageB":""}', INVALID),
    ("an image that is a number", {"ImageA": 7, "ImageB": B}, INVALID),
    ("a url that is a list", {"UrlA": ["http://a/"], "ImageB": B}, INVALID),
    ("a url with a control character", {"UrlA": "http://a/\n\0", "ImageB": B}, INVALID),
    ("unknown parameter", {**PAIR, "appid": APPID}, "UnknownParameter"),
    ("model 2.0", {**PAIR, "FaceModelVersion": "2.0"}, "InvalidParameterValue.FaceModelVersionIllegal"),
    ("a model number", {**PAIR, "FaceModelVersion": 3.0}, "InvalidParameterValue.FaceModelVersionIllegal"),
    ("quality 5", {**PAIR, "QualityControl": 5}, "InvalidParameterValue.QualityControlIllegal"),
    ("quality true", {**PAIR, "QualityControl": True}, "InvalidParameterValue.QualityControlIllegal"),
    ("rotation", {**PAIR, "NeedRotateDetection": 1}, "InvalidParameterValue"),
    ("the most certain face", {**PAIR, "FaceMatchingStrategy": 0}, "InvalidParameterValue"),
    ("no image", {}, EMPTY),
    ("image B missing", {"ImageA": A}, EMPTY),
    ("image A empty", {"ImageA": "", "ImageB": B}, EMPTY),
    ("image A null", {"ImageA": None, "ImageB": B}, EMPTY),
    ("no base64", {"ImageA": "%" * 8, "ImageB": B}, DECODE),
    ("base64 cut", {"ImageA": A[:-1], "ImageB": B}, DECODE),
    ("padding within", {"ImageA": "AA==" + A, "ImageB": B}, DECODE),
    ("padding at a piece", {"ImageA": "A" * 65_534 + "==" + A, "ImageB": B}, DECODE),
    ("the mark of the parser", {"ImageA": "#ImageA", "ImageB": B}, DECODE),
    ("the mark, escaped name", b'{"Image\\u0041":"#ImageB","ImageB":"QUJD"}', DECODE),
    ("an escaped quote", b'{"ImageA":"a\\"b","ImageB":""}', INVALID),
    ("an escaped backslash", b'{"ImageA":"AAA\\\\/","ImageB":""}', DECODE),
    ("huge base64", {"ImageA": BIG, "ImageB": B}, "FailedOperation.ImageSizeExceed"),
    ("huge body", {"ImageA": BIG + "A" * 1_000_000, "ImageB": B}, "RequestSizeLimitExceeded"),
    ("huge text", {**PAIR, "UrlA": "x" * 70_000}, "RequestSizeLimitExceeded"),
    ("a long url", {"UrlA": "http://a/" + "x" * 2_040, "ImageB": B}, URL),
    ("no url", {"UrlA": "photo.jpg", "ImageB": B}, URL),
    ("a file url", {"UrlA": "file:///etc/passwd", "ImageB": B}, URL),
    ("a metadata url", {"UrlA": "http://169.254.169.254/", "ImageB": B}, DOWNLOAD),
    ("a url beside an image", {**PAIR, "UrlB": "http://127.0.0.1:1/"}, DOWNLOAD),
    ("a GIF", fields(b"GIF89a", PHOTO), DECODE),
    ("a picture cut", fields(SHOT, PHOTO[:2_000]), DECODE),
    ("a JPEG of 4001 px", fields(plain(4_001, 64, ".jpg"), PHOTO), "FailedOperation.ImageResolutionExceed"),
    ("a PNG of 2001 px", fields(SHOT, blank_png(2_001, 64)), "FailedOperation.ImageResolutionExceed"),
    ("a picture of 63 px", fields(blank_png(200, 63), PHOTO), "FailedOperation.ImageResolutionTooSmall"),
    ("no face", fields(plain(300, 300), PHOTO), "InvalidParameterValue.NoFaceInPhoto"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_wrong_body_is_refused_by_name(
    service: CompareService, body: bytes | dict[str, object], code: str
) -> None:
    assert error(call(service, body)) == code


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({**PAIR, "QualityControl": 4, "NeedRotateDetection": 0, "FaceMatchingStrategy": 1}),
        json.dumps({**PAIR, "UrlA": "", "UrlB": None, "FaceModelVersion": "3.0"}, indent=4),
        json.dumps(PAIR).replace("/", "\\/"),
        json.dumps(PAIR).replace("=", "\\u003d").replace("+", "\\u002B"),
        json.dumps({"ImageB": B, "ImageA": A}).replace('"ImageA"', '"Image\\u0041"')[:60]
        and json.dumps(PAIR),
    ],
    ids=["parameters", "spaces", "slashes escaped", "padding escaped", "order"],
)
def test_every_way_to_write_the_json_is_read(service: CompareService, body: str) -> None:
    assert call(service, body.encode())["Score"] == call(service, PAIR)["Score"]


@pytest.mark.parametrize("shift", range(8))
@pytest.mark.parametrize("escape", ["\\/", "\\u002f", "\\u002F"])
def test_escape_between_two_pieces_is_read(shift: int, escape: str) -> None:
    text = "A" * shift + "/" * (60_000 - shift)
    body = bytearray(f'{{"ImageA":"{text.replace("/", escape)}","ImageB":"AAAA"}}'.encode())
    assert bytes(parse(body).sides[0].image or b"") == base64.b64decode(text)


def test_message_log_and_metrics_name_the_cause_and_the_image(
    service: CompareService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = call(service, fields(SHOT, plain(300, 300)))
    assert answer["Error"]["Message"] == "no_face: no face (image B)"
    logged = [record.__dict__["facts"] for record in caplog.records if record.msg == "answered"][-1]
    names = {name: logged[name] for name in ("api", "code", "cause", "flag", "account", "session")}
    expected = {"api": "compareface_2020", "code": -1101, "cause": "no_face", "flag": 2, "account": APPID}
    assert names == {**expected, "session": answer["RequestId"]}
    assert 'facepay_service_refusals_total{cause="no_face",code="-1101"}' in metrics(service)


def test_key_and_picture_are_in_no_answer(service: CompareService) -> None:
    bodies: list[bytes | dict[str, object]] = [b"{", {**PAIR, "x" * 5_000: 1}, {"ImageA": "%" * 5_000}]
    for body in bodies:
        assert len(json.dumps(call(service, body))) < 400


def until_closed(link: socket.socket) -> bytes:
    received = b""
    while chunk := link.recv(4_096):
        received += chunk
    return received


def test_forged_upload_is_refused_before_its_body(service: CompareService) -> None:
    """The answer arrives although the client has sent no byte of its body."""
    for signing, more in (
        ({"age_s": 900}, {}),
        ({"secret_id": "AKIDUNKNOWN"}, {}),
        ({}, {"X-TC-Action": "X"}),
    ):
        headers = signed_headers(base_url(service), b"x", **signing) | more | {"Content-Length": "5000000"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        host, port = service.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=20) as link:
            link.sendall(
                f"POST / HTTP/1.1\r\nHost: {host}:{port}\r\nExpect: 100-continue\r\n{head}\r\n".encode()
            )
            assert b'"Error"' in until_closed(link)


def test_memory_of_a_body_that_never_ends_comes_back(service: CompareService) -> None:
    headers = signed_headers(base_url(service), b"x", key=b"guessed") | {"Content-Length": "6000000"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, port = service.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(f"POST / HTTP/1.1\r\nHost: {host}:{port}\r\n{head}\r\nabc".encode())
        until = time.monotonic() + 60
        while "facepay_service_flight_bytes 0.0" in metrics(service):
            assert time.monotonic() < until
        assert b"body_slow" in until_closed(link)
    assert "facepay_service_flight_bytes 0.0" in metrics(service)


def test_other_methods_and_paths(service: CompareService, tmp_path: Path) -> None:
    with httpx.Client(trust_env=False, base_url=base_url(service)) as http:
        assert http.options("/").status_code == 204
        assert http.get("/").status_code == 405
        assert http.post("/other").status_code == 404
