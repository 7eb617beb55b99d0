"""The endpoint over real HTTP with photographs: every request form and every code of the endpoint."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.service.compare_service import CompareService
from tests.service.kit import APPID, BUCKET, account, code, files, post, running, sign, slow_machine_config
from tests.service.pictures import bomb_png, lying, photo, plain, turned

OBAMA, PODIUM, BIDEN = photo("obama_portrait"), photo("obama_podium"), photo("biden_portrait")
KEY = b"another key that opens nothing"


SLOW_APPID = "1250000003"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompareService]:
    gone = tmp_path_factory.mktemp("keys") / "gone"
    gone.write_bytes(KEY)
    other = tmp_path_factory.mktemp("keys") / "other"
    other.write_bytes(KEY)
    accounts = (
        account("AKIDEXAMPLEEXAMPLEEXAMPLE", buckets=(BUCKET,), rate_per_s=1_000, burst=1_000),
        account("SUSPENDED", suspended=True),
        account("ONCE", single_use=True),
        account("SLOW", appid=SLOW_APPID, rate_per_s=0.001, burst=2),
        account("SLOW-TOO", appid=SLOW_APPID, rate_per_s=0.001, burst=2),
        account("GONE", example=False, secret_key_file=gone),
        account("OTHER", appid="1250000002", example=False, secret_key_file=other),
    )
    with running(
        slow_machine_config(accounts=accounts, download_timeout_ms=500, body_max_bytes=2_000_000)
    ) as made:
        gone.unlink()
        yield made


# --- forms -----------------------------------------------------------------------------------------


def test_another_photo_of_the_person_is_above_the_default_threshold(
    service: CompareService,
) -> None:
    answer = post(service, **files(PODIUM, OBAMA))
    assert answer["data"]["similarity"] > 85
    assert (answer["code"], answer["message"]) == (0, "OK")
    assert len(answer["data"]["session_id"]) == 32


def test_another_person_is_below_the_floor(service: CompareService) -> None:
    assert post(service, **files(BIDEN, OBAMA))["data"]["similarity"] < 70
    assert post(service, **files(photo("collins_portrait"), OBAMA))["data"]["similarity"] < 70


def test_same_bytes_have_similarity_100(service: CompareService) -> None:
    assert post(service, **files(OBAMA, OBAMA))["data"]["similarity"] == 100.0


def test_rotated_photo_with_exif_orientation_is_the_same_person(service: CompareService) -> None:
    assert post(service, **files(turned(lying(OBAMA), 6), OBAMA))["data"]["similarity"] > 95
    assert post(service, **files(lying(OBAMA), OBAMA))["code"] in (
        0,
        -1101,
    )  # without EXIF


def raw_multipart(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """A multipart body. A pair: the text after ``Content-Disposition: form-data; ``, and the value."""
    boundary = "--------------acebdf13572468"
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    kind = f"multipart/form-data;boundary={boundary}"
    return {"content": body + f"--{boundary}--\r\n".encode(), "headers": {"Content-Type": kind}}


@pytest.mark.parametrize(
    "parts",
    [
        # the documented example, with its trailing semicolon
        [
            ('name="appid";', APPID.encode()),
            ('name="imageA"; filename="testA.jpg"\r\nContent-Type: image/jpeg', PODIUM),
            ('name="imageB"; filename="testB.jpg"\r\nContent-Type: image/jpeg', OBAMA),
        ],
        # the Python client: text parts with a file name, images without a type
        [
            ('name="appid"; filename="appid"', APPID.encode()),
            ('name="bucket"; filename="bucket"', BUCKET.encode()),
            ('name="imageA"; filename="a"', PODIUM),
            ('name="imageB"; filename="b"', OBAMA),
        ],
        # the Java client: a special type, a length per part, any order; the Node client puts appid last
        [
            ('name="imageB"; filename="b.jpg"\r\nContent-Type: image/jpg\r\nContent-Length: 5', OBAMA),
            ('name="imageA"\r\nContent-Type: image/jpg', PODIUM),
            ('name="something-else"', b"ignored"),
            ('name="appid"', APPID.encode()),
        ],
        # an empty url beside an image is ignored
        [
            ('name="urlA"', b""),
            ('name="imageA"', PODIUM),
            ("name=imageB", OBAMA),
            ("name=appid", b"1250000001"),
        ],
    ],
    ids=["page", "python", "java-and-node", "empty-url"],
)
def test_multipart_of_real_clients_is_accepted(
    service: CompareService, parts: list[tuple[str, bytes]]
) -> None:
    answer = post(service, **raw_multipart(*parts))
    assert answer["code"] == 0
    assert answer["data"]["similarity"] > 85


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_with_any_charset_suffix_reaches_the_download(service: CompareService, kind: str) -> None:
    body = b'{"appid": 1250000001, "urlA": "http://127.0.0.1:1/a", "urlB": "http://127.0.0.1:1/b"}'
    assert code(post(service, content=body, headers={"Content-Type": kind})) == (-1308, 1)


def test_url_has_priority_over_the_image(service: CompareService) -> None:
    both = files(PODIUM, OBAMA)
    both["data"]["urlB"] = "http://127.0.0.1:1/b"
    assert code(post(service, **both)) == (-1308, 2)


def test_both_hosts_of_the_old_service_are_accepted(service: CompareService) -> None:
    for host in ("recognition.image.myqcloud.com", "service.image.myqcloud.com"):
        answer = post(service, headers={"Host": host}, **files(PODIUM, OBAMA))
        assert answer["code"] == 0


# --- codes -----------------------------------------------------------------------------------------

GOOD = files(PODIUM, OBAMA)
URLS = {"appid": APPID, "urlA": "http://127.0.0.1:1/a", "urlB": "http://127.0.0.1:1/b"}


def urls(**changes: object) -> dict[str, Any]:
    return {"json": {**URLS, **changes}}


# The fourth value: arguments of ``sign`` (signed at run time, because signatures last a minute), or a header.
CASES: list[tuple[str, int, int | None, dict[str, Any] | str, dict[str, Any]]] = [
    ("suspended account", 3, None, {"secret_id": "SUSPENDED"}, GOOD),
    ("no signature", 4, None, "", GOOD),
    ("signature is no base64", 5, None, "FCHXdPTEwMDAwMzc5Jms9QUtJRGVRZDBrRU1yM2J4ZjhRckJi==", GOOD),
    ("another appid in the body", 6, None, {}, urls(appid="1250000002")),
    ("another bucket in the body", 6, None, {}, urls(bucket="another")),
    ("expired", 9, None, {"age_s": 61}, GOOD),
    ("valid for 90 days from a far future on", 9, None, {"age_s": -8_000_000}, GOOD),
    ("unknown appid", 10, None, {"appid": "999"}, urls(appid="999")),
    ("unknown secret id", 11, None, {"secret_id": "UNKNOWN"}, GOOD),
    ("a secret id of another appid", 12, None, {"secret_id": "OTHER", "key": KEY}, GOOD),
    ("forged", 14, None, {"key": b"guessed"}, GOOD),
    ("unknown bucket", 16, None, {"bucket": "nobodys"}, GOOD),
    ("key file gone", 107, None, {"secret_id": "GONE", "key": KEY}, GOOD),
    ("no JSON", 21, None, {}, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    ("form-urlencoded", 21, None, {}, {"data": URLS}),
    ("no body at all", 21, None, {}, {}),
    ("empty JSON body", 21, None, {}, {"headers": {"Content-Type": "application/json"}}),
    ("JSON list", 21, None, {}, {"json": [URLS]}),
    ("url is a number", 21, None, {}, urls(urlA=7)),
    (
        "multipart without boundary",
        21,
        None,
        {},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
    ),
    ("larger than the limit", 23, None, {}, files(OBAMA, b"\xff" * 2_100_000)),
    ("no face in the shot", -1101, 1, {}, files(plain(300, 300), OBAMA)),
    ("no face in the reference", -1101, 2, {}, files(OBAMA, plain(300, 300))),
    ("cut short", -1102, 1, {}, files(OBAMA[:2_000], OBAMA)),
    ("image empty", -1300, 2, {}, files(OBAMA, b"")),
    ("image missing", -1300, 1, {}, {"data": {"appid": APPID}, "files": {"imageB": ("b", OBAMA)}}),
    ("appid missing", -1301, None, {}, {"json": {"urlA": "http://a/"}}),
    ("appid empty", -1301, None, {}, urls(appid="")),
    ("url too long", -1304, None, {}, urls(urlA="http://a.example/" + "x" * 2_048)),
    ("url leads inside", -1308, 1, {}, urls()),
    ("reference is a GIF", -1400, 2, {}, files(OBAMA, b"GIF89a" + b"\0" * 64)),
    ("decompression bomb", -1400, 1, {}, files(bomb_png(60_000, 60_000), OBAMA)),
    ("url without http", -1505, 1, {}, urls(urlA="ftp://a.example/a.jpg")),
    ("url with a password", -1505, 1, {}, urls(urlA="http://u:p@a.example/a.jpg")),
    (
        "url with a port above 65535",
        -1505,
        2,
        {},
        {"data": {"appid": APPID, "urlB": "http://localhost:65536/"}, "files": {"imageA": ("a", PODIUM)}},
    ),
    ("url with a name that IDNA refuses", -1505, 1, {}, urls(urlA="http://xn--a/")),
    (
        "JSON key twice",
        21,
        None,
        {},
        {
            "content": b'{"appid":"1250000001","appid":"1250000001"}',
            "headers": {"Content-Type": "application/json"},
        },
    ),
    ("host does not exist", -1507, 1, {}, urls(urlA=f"http://{'a' * 64}.example/")),
]


@pytest.mark.parametrize(
    ("expected", "flag", "signed", "request_"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_invalid_request_has_its_code(
    service: CompareService, expected: int, flag: int | None, signed: Any, request_: dict[str, Any]
) -> None:
    authorization = signed if isinstance(signed, str) else sign(**signed)
    answer = post(service, authorization=authorization, **request_)
    assert code(answer) == (expected, flag)


def test_repeated_signature_of_a_single_use_account_is_a_replay(service: CompareService) -> None:
    once = sign(secret_id="ONCE")
    assert post(service, authorization=once, **urls())["code"] == -1308
    assert post(service, authorization=once, **urls())["code"] == 13
    assert post(service, authorization=sign(secret_id="ONCE", nonce=2), **urls())["code"] == -1308
    again = sign()
    assert [post(service, authorization=again, **urls())["code"] for _ in range(2)] == [-1308, -1308]


def test_rate_limit_of_one_appid_does_not_affect_others(service: CompareService) -> None:
    form = urls(appid=SLOW_APPID)
    keys = [sign(appid=SLOW_APPID, secret_id=name) for name in ("SLOW", "SLOW-TOO", "SLOW", "SLOW-TOO")]
    assert [post(service, authorization=key, **form)["code"] for key in keys] == [-1308, -1308, 15, 15]
    assert post(service, **urls())["code"] == -1308


def test_header_is_checked_before_the_body_and_the_body_before_the_images(service: CompareService) -> None:
    broken: dict[str, Any] = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    assert post(service, authorization=sign(key=b"guessed"), **broken)["code"] == 14
    assert post(service, authorization=sign(appid="999"), **broken)["code"] == 21
    assert post(service, authorization=sign(appid="999"), **files(b"", b""))["code"] == 6
    assert code(post(service, **files(b"GIF89a", b""))) == (
        -1300,
        2,
    )  # both images are present before one is decoded


# --- other HTTP requests ---------------------------------------------------------------------------


def talk(service: CompareService, raw: bytes) -> bytes:
    """Send bytes; return all bytes until the service closes the connection."""
    host, port = service.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as link:
        link.sendall(raw)
        received = b""
        while chunk := link.recv(65_536):
            received += chunk
    return received


def test_other_paths_and_methods(service: CompareService) -> None:
    for line, status in [
        (b"GET /face/compare", b"405"),
        (b"OPTIONS /face/compare", b"204"),
        (b"POST /face/other", b"404"),
        (b"OPTIONS /face/compare/", b"204"),
        (b"OPTIONS http://any.example/face/compare", b"204"),
        (b"GET http://any.example:80/healthz", b"200"),
        (b"GET /healthz", b"200"),
        (b"GET /readyz", b"200"),
        (b"GET /metrics", b"200"),
    ]:
        answer = talk(
            service, line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        assert answer.split(b" ")[1] == status, line
        assert (b"allow: post, options" in answer.lower()) == (status in (b"204", b"405")), line
    assert b'facepay_service_answers_total{code="14"}' in answer
    assert b"server:" not in answer.lower()


def test_calls_are_counted(service: CompareService) -> None:
    before = service.calls
    post(service, authorization="")
    assert service.calls == before + 1


def test_body_far_over_the_limit_is_answered_and_the_connection_closed(service: CompareService) -> None:
    head = f"POST /face/compare HTTP/1.1\r\nHost: x\r\nAuthorization: {sign()}\r\n"
    head += "Content-Length: 9999999999\r\n\r\n"
    host, port = service.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as link:
        link.sendall(head.encode())
        sent = 0
        try:
            while sent < 100_000_000:
                link.sendall(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            pass
    assert sent < 50_000_000


def test_nothing_is_written_to_disk(
    service: CompareService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    post(service, **files(PODIUM, OBAMA))
    assert list(tmp_path.iterdir()) == []
