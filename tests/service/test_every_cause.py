"""Each refusal of a picture, a download and CompareFace: code, flag, cause in the log, and counter."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import cv2
import httpx
import pytest

from agent.service.compare_service import CompareService
from agent.service.image_decoder import decode
from tests.compare.servers import Play, ReceivedRequest, endpoint, http, replies
from tests.service.compareface_kit import call, fields
from tests.service.kit import APPID, SECRET_ID, account, files, post, running, sign, slow_machine_config
from tests.service.pictures import bomb_png, photo, plain
from tests.service.test_image_decoder import PORTRAIT

OBAMA, PODIUM = photo("obama_portrait"), photo("obama_podium")
SCAN = b"\xff\xda\x00\x08" + bytes(6)


def small_face() -> bytes:
    pixels = cv2.resize(decode(OBAMA), None, fx=0.22, fy=0.22, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", pixels)[1].tobytes()


PICTURES: list[tuple[str, int, bytes]] = [
    ("format", -1400, b"GIF89a" + bytes(64)),
    ("size", -1400, bomb_png(4_001, 10)),
    ("header", -1102, bomb_png(0, 10)),
    ("length", -1102, plain(20, 20)[:45]),
    ("scans", -1102, PORTRAIT[:-2] + SCAN * 100 + PORTRAIT[-2:]),
    ("unfinished", -1102, OBAMA[:2_000]),
    ("decoder", -1102, bomb_png(900, 900)),
    ("no_face", -1101, plain(300, 300)),
    ("face_small", -1101, small_face()),
]


async def silent(_: ReceivedRequest, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


DOWNLOADS: list[tuple[str, int, Play | str]] = [
    ("url", -1505, "http://localhost:65536/"),
    ("not_public", -1308, "http://127.0.0.1:1/"),
    ("redirects", -1308, replies(http(b"", "302 Found", "Location: /on\r\n"))),
    ("no_host", -1507, f"http://{'a' * 64}.example/"),
    ("no_connection", -1507, "http://localhost:1/"),
    ("http_status", -1403, replies(http(b"", "404 Not Found"))),
    ("http_error", -1403, replies(b"no http\r\n\r\n")),
]
HEADERS: list[tuple[str, int, dict[str, str]]] = [
    ("parameter_missing", 21, {"X-TC-Action": ""}),
    ("action", 21, {"X-TC-Action": "DetectFace"}),
    ("version", 21, {"X-TC-Version": "2018-03-01"}),
    ("region", 21, {"X-TC-Region": "Mars/1"}),
    ("token", 5, {"X-TC-Token": "token"}),
]
PARAMETERS: list[tuple[str, int, dict[str, object]]] = [
    ("parameter_unknown", 21, {"Other": 1}),
    ("parameter_value", 21, {"NeedRotateDetection": 1}),
    ("face_model", 21, {"FaceModelVersion": "2.0"}),
    ("quality_control", 21, {"QualityControl": 5}),
    ("base64", -1102, {"ImageB": "no base64!"}),
    ("size_small", -1400, {"ImageB": base64.b64encode(plain(63, 200)).decode()}),
]


def service_with(download_timeout_ms: int) -> AbstractContextManager[CompareService]:
    changes = {"download_hosts": ("localhost",), "download_timeout_ms": download_timeout_ms}
    return running(slow_machine_config(accounts=(account(SECRET_ID),), **changes))


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with service_with(download_timeout_ms=60_000) as made:
        yield made


@pytest.fixture(scope="module")
def hasty() -> Iterator[CompareService]:
    with service_with(download_timeout_ms=500) as made:
        yield made


def counted(service: CompareService, cause: str, code: int) -> float:
    with httpx.Client(trust_env=False) as client:
        text = client.get(service.url.replace("/face/compare", "/metrics")).text
    name = f'facepay_service_refusals_total{{cause="{cause}",code="{code}"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


def last_logged(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    found: dict[str, Any] = [each for each in caplog.records if each.msg == "answered"][-1].__dict__["facts"]
    return found


@pytest.mark.parametrize("flag", [1, 2])
@pytest.mark.parametrize(("cause", "code", "picture"), PICTURES, ids=[row[0] for row in PICTURES])
def test_refused_picture(
    service: CompareService,
    caplog: pytest.LogCaptureFixture,
    cause: str,
    code: int,
    picture: bytes,
    flag: int,
) -> None:
    caplog.set_level(logging.INFO)
    before = counted(service, cause, code)
    pair = (picture, OBAMA) if flag == 1 else (PODIUM, picture)
    answer = post(service, **files(*pair))
    data = answer["data"]
    assert (answer["code"], data["fail_flag"], data["cause"]) == (code, flag, cause)
    logged = last_logged(caplog)
    assert (logged["code"], logged["flag"], logged["cause"], logged["session"]) == (
        *(code, flag, cause),
        data["session_id"],
    )
    assert counted(service, cause, code) == before + 1


@pytest.mark.parametrize("flag", [1, 2])
@pytest.mark.parametrize(("cause", "code", "source"), DOWNLOADS, ids=[row[0] for row in DOWNLOADS])
async def test_refused_download(
    service: CompareService, cause: str, code: int, source: Play | str, flag: int
) -> None:
    before = await asyncio.to_thread(counted, service, cause, code)
    play = replies(http(b"unused")) if isinstance(source, str) else source
    async with endpoint(replies(http(OBAMA))) as good, endpoint(play) as bad:
        url = source if isinstance(source, str) else bad.url()
        urls = {"urlA": url, "urlB": good.url()} if flag == 1 else {"urlA": good.url(), "urlB": url}
        answer = await asyncio.to_thread(post, service, json={"appid": APPID, **urls})
    data = answer["data"]
    assert (answer["code"], data["fail_flag"], data["cause"]) == (code, flag, cause)
    assert await asyncio.to_thread(counted, service, cause, code) == before + 1


@pytest.mark.parametrize("flag", [1, 2])
async def test_refused_slow_download(hasty: CompareService, flag: int) -> None:
    """The other picture is no download: on a busy machine, it would be slow too."""
    before = await asyncio.to_thread(counted, hasty, "download_slow", -1506)
    async with endpoint(silent) as bad:
        parts = {"appid": (None, APPID), "imageA": ("a", PODIUM), "imageB": ("b", OBAMA)}
        side = "A" if flag == 1 else "B"
        del parts[f"image{side}"]
        answer = await asyncio.to_thread(post, hasty, files=parts | {f"url{side}": (None, bad.url())})
    data = answer["data"]
    assert (answer["code"], data["fail_flag"], data["cause"]) == (-1506, flag, "download_slow")
    assert await asyncio.to_thread(counted, hasty, "download_slow", -1506) == before + 1


@pytest.mark.parametrize(("cause", "code", "headers"), HEADERS, ids=[row[0] for row in HEADERS])
def test_refused_header_of_compareface(
    service: CompareService,
    caplog: pytest.LogCaptureFixture,
    cause: str,
    code: int,
    headers: dict[str, str],
) -> None:
    caplog.set_level(logging.INFO)
    before = counted(service, cause, code)
    call(service, fields(PODIUM, OBAMA), headers)
    assert (last_logged(caplog)["cause"], last_logged(caplog)["code"]) == (cause, code)
    assert counted(service, cause, code) == before + 1


@pytest.mark.parametrize(("cause", "code", "more"), PARAMETERS, ids=[row[0] for row in PARAMETERS])
def test_refused_parameter_of_compareface(
    service: CompareService,
    caplog: pytest.LogCaptureFixture,
    cause: str,
    code: int,
    more: dict[str, object],
) -> None:
    caplog.set_level(logging.INFO)
    before = counted(service, cause, code)
    call(service, {**fields(PODIUM, OBAMA), **more})
    assert (last_logged(caplog)["cause"], last_logged(caplog)["code"]) == (cause, code)
    assert last_logged(caplog)["flag"] == (2 if "ImageB" in more else None)
    assert counted(service, cause, code) == before + 1


@pytest.mark.parametrize(("cause", "age_s"), [("expired", 3_600), ("far_future", -8_000_000)])
def test_refused_time_of_a_signature(service: CompareService, cause: str, age_s: int) -> None:
    before = counted(service, cause, 9)
    answer = post(service, authorization=sign(age_s=age_s), json={})
    assert (answer["code"], answer["data"]["cause"]) == (9, cause)
    assert counted(service, cause, 9) == before + 1
