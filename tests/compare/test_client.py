"""The 2018 client over real sockets: requests, valid answers, refused answers."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import pytest

from agent.compare import secret, signature
from agent.compare.base import check_endpoint
from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.core.model import Crop, Reference, Request
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, ConfigError, Retry
from tests.compare.servers import SUCCESS, Play, ReceivedRequest, endpoint, http, replies
from tests.compare.vectors import ACCOUNT, SECRET
from tests.fakes import RealClock

JPEG = b"\xff\xd8\xff\xe0 the enrolled photo"
CROP = Crop(b"\xff\xd8\xff\xe0 the shot", 100, 100)


def config(url: str, **more: object) -> CompareConfig:
    keys = {"appid": ACCOUNT["appid"], "secret_id": ACCOUNT["secret_id"], "bucket": ACCOUNT["bucket"]}
    return CompareConfig.model_validate({"url": url, **keys, **more})


@contextlib.asynccontextmanager
async def client(
    url: str, *, key: bytes | Callable[[], bytes] = SECRET, **more: object
) -> AsyncIterator[FaceCompare2018]:
    made = FaceCompare2018(config(url, **more), key, RealClock(), profile="demo")
    try:
        yield made
    finally:
        await made.close()


def request(reference: Reference | None = None, *, number: int = 1) -> Request:
    return Request(
        request_id=f"request-{number}",
        till="till-1",
        transaction_id="t",
        nonce="n",
        epoch="e",
        ttl_ms=8_000,
        reference=reference or Reference(image=JPEG),
        payload_sha256="",
        received_ms=RealClock().now_ms(),
        budget_ms=8_000,
    )


async def call(api: FaceCompare2018, *, timeout_ms: int = 5_000) -> float:
    return (await api.call(JPEG, CROP, 1, timeout_ms, lambda: None)).similarity


# --- requests --------------------------------------------------------------------------------------


async def test_shot_and_photo_are_sent_as_multipart_with_a_genuine_signature() -> None:
    async with endpoint(replies(http(SUCCESS))) as server, client(server.url()) as api:
        answer = await api.call(JPEG, CROP, 1, 5_000, lambda: None)
    assert (answer.similarity, answer.session_id, answer.threshold) == (91.5, "s1", 80)
    assert answer.provider == "face_compare_2018"
    (received,) = server.posts
    assert received.target == "/face/compare"
    assert received.headers["content-type"].startswith("multipart/form-data; boundary=")
    for part in (b'name="appid"', b'name="bucket"', b'name="imageA"', b'name="imageB"', CROP.jpeg, JPEG):
        assert received.body.count(part) == 1
    assert received.body.index(CROP.jpeg) < received.body.index(JPEG)
    signed = signature.parse(received.headers["authorization"])
    assert signature.is_genuine(signed, SECRET)
    assert signed.expires_s - signed.signed_s == 60
    assert signed.secret_id == ACCOUNT["secret_id"]


async def test_two_urls_are_sent_as_json_and_mixed_sources_as_multipart() -> None:
    async with endpoint(replies(http(SUCCESS))) as server, client(server.url()) as api:
        await api.compare("http://a.example/1.jpg", "http://b.example/2.jpg", timeout_ms=60_000)
        await api.compare(JPEG, "http://b.example/2.jpg", timeout_ms=60_000)
    urls, mixed = server.posts
    assert urls.headers["content-type"] == "application/json"
    assert b'"urlA":"http://a.example/1.jpg"' in urls.body
    assert b'name="imageA"' in mixed.body and b'name="urlB"' in mixed.body and b"imageB" not in mixed.body


async def test_every_call_has_a_new_signature() -> None:
    async with endpoint(replies(http(SUCCESS))) as server, client(server.url()) as api:
        await call(api)
        await call(api)
    first, second = server.posts
    assert first.headers["authorization"] != second.headers["authorization"]


async def test_prepare_opens_the_connection_that_the_call_uses() -> None:
    async with endpoint(replies(http(SUCCESS))) as server, client(server.url()) as api:
        await api.prepare(request())
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "compare-warm"))
        answer = await api.call(JPEG, CROP, 1, 5_000, lambda: None)
        await call(api)
    assert answer.connect_ms == 0
    assert server.connections == 2
    assert [received.method for received in server.requests] == ["OPTIONS", "POST", "POST"]
    assert "authorization" not in server.requests[0].headers  # unsigned, so the request is free


async def test_endpoint_down_during_prepare_is_reported_by_the_call() -> None:
    async with client("http://127.0.0.1:9/face/compare") as api:
        await api.prepare(request())
        with pytest.raises(CompareUnreachable) as caught:
            await call(api)
    assert caught.value.retry is Retry.SAME


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with endpoint(replies(http(SUCCESS))) as server, client(server.url()) as api:
        assert await call(api) == 91.5


async def test_a_rotated_key_signs_the_next_call(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"first\n")
    async with (
        endpoint(replies(http(SUCCESS))) as server,
        client(server.url(), key=secret.secret_reader(file)) as api,
    ):
        await call(api)
        file.write_bytes(b"second\n")
        await call(api)
        file.unlink()
        with pytest.raises(CompareError) as caught:
            await call(api)
    keys = [signature.parse(received.headers["authorization"]) for received in server.posts]
    assert signature.is_genuine(keys[0], b"first") and signature.is_genuine(keys[1], b"second")
    assert len(keys) == 2
    assert caught.value.code == Reason.COMPARE_CREDENTIALS


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_secret_without_a_free_file_descriptor_is_no_wrong_key(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(*_: object, **__: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(secret, "read_plain", no_file)
    with pytest.raises(CompareError) as caught:
        secret.secret_reader(tmp_path / "secret")()
    assert caught.value.code == "compare_unreachable" and "restart" in caught.value.fix.write("en").lower()


# --- answers ---------------------------------------------------------------------------------------


async def test_late_answer_of_a_timed_out_call_does_not_reach_the_next_call() -> None:
    answered = asyncio.Event()

    async def late(received: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        await replies(http(SUCCESS.replace(b"91.5", b"99.9")))(received, writer)

    async with endpoint(late, replies(http(SUCCESS))) as server, client(server.url()) as api:
        with pytest.raises(CompareUnreachable):
            await call(api, timeout_ms=100)
        answered.set()
        assert await call(api) == 91.5
        assert server.connections == 2


async def test_cancelled_call_closes_its_connection() -> None:
    stuck = asyncio.Event()

    async def hang(_: ReceivedRequest, __: asyncio.StreamWriter) -> None:
        await stuck.wait()

    async with endpoint(hang, replies(http(SUCCESS))) as server, client(server.url()) as api:
        task = asyncio.create_task(call(api))
        await server.posted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stuck.set()
        assert await call(api) == 91.5
        assert server.connections == 2


async def drip(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()


async def hang_up(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.close()
    raise ConnectionError


async def hang_up_midway(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(http(SUCCESS)[:-10])
    await writer.drain()
    writer.close()
    raise ConnectionError


@pytest.mark.parametrize(
    ("script", "reason", "retry"),
    [
        (drip, Reason.COMPARE_UNREACHABLE, Retry.SAME),
        (endless, Reason.COMPARE_MALFORMED, Retry.NEVER),
        (hang_up, Reason.COMPARE_UNREACHABLE, Retry.SAME),
        (hang_up_midway, Reason.COMPARE_UNREACHABLE, Retry.SAME),
        (replies(b"SSH-2.0-OpenSSH_9\r\n\r\n"), Reason.COMPARE_UNREACHABLE, Retry.SAME),
        (replies(http(SUCCESS[:-1])), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (replies(http(b"<html>", "502 Bad Gateway")), Reason.COMPARE_FAILED, Retry.BACKOFF),
        (replies(http(b"", "500 Oops")), Reason.COMPARE_FAILED, Retry.BACKOFF),
        (
            replies(http(b"", "302 Found", "Location: http://evil.example/\r\n")),
            Reason.COMPARE_CONFIG,
            Retry.NEVER,
        ),
        (replies(http(SUCCESS, headers="Content-Encoding: gzip\r\n")), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (replies(http(SUCCESS.replace(b"91.5", b"NaN"))), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (replies(http(SUCCESS, "403 Forbidden")), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (replies(http(b'{"code":15}')), Reason.COMPARE_BUSY, Retry.BACKOFF),
        (replies(http(b'{"code":9}')), Reason.CLOCK, Retry.RESIGN),
    ],
)
async def test_each_invalid_answer_is_a_named_error_and_the_next_call_works(
    script: Play, reason: Reason, retry: Retry
) -> None:
    async with (
        endpoint(script, replies(http(SUCCESS))) as server,
        client(server.url()) as api,
    ):
        with pytest.raises(CompareError) as caught:
            await call(api, timeout_ms=400 if script is drip else 60_000)
        assert (caught.value.code, caught.value.retry) == (reason, retry)
        assert await call(api) == 91.5


# --- the reference ---------------------------------------------------------------------------------


async def test_one_download_of_the_reference_serves_every_call() -> None:
    photo = http(JPEG)
    async with endpoint(replies(photo)) as photos, endpoint(replies(http(SUCCESS))) as server:
        host = f"localhost:{photos.port}"
        async with client(server.url(), reference_hosts=(host,)) as api:
            reference = await api.prepare(request(Reference(url=f"http://{host}/p.jpg")))
            await api.call(reference, CROP, 1, 5_000, lambda: None)
            await api.call(reference, CROP, 2, 5_000, lambda: None)
            assert len(photos.posts) == 1 and len(server.posts) == 2
    assert all(JPEG in received.body for received in server.posts)


# --- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "profile", "text"),
    [
        ({"url": "http://api.example/face/compare"}, "shop", "plain http"),
        ({"url": "ftp://api.example/"}, "demo", "compare.url"),
        ({"url": "https://"}, "demo", "compare.url"),
        ({"url": "https://api.example:port/"}, "demo", "compare.url"),
        ({"threshold": 74.9}, "demo", "floor"),
        ({"appid": ""}, "demo", "appid"),
        ({"appid": "1&k=2"}, "demo", "appid"),
        ({"secret_id": "钥匙"}, "demo", "secret_id"),
        ({"bucket": "a b"}, "demo", "bucket"),
        ({"ca_file": Path("/nowhere.pem")}, "shop", "ca_file"),
    ],
)
def test_implausible_config_is_refused_at_start(
    changes: dict[str, object], profile: Literal["demo", "shop"], text: str
) -> None:
    wrong = config("https://api.example/face/compare").model_copy(update=changes)
    with pytest.raises(ConfigError, match=text):
        FaceCompare2018(wrong, SECRET, RealClock(), profile=profile)


def test_the_threshold_floor_itself_is_allowed() -> None:
    FaceCompare2018(config("https://api.example/", threshold=75), SECRET, RealClock())


@pytest.mark.parametrize("threshold", [float("nan"), 74.9, 100.1])
def test_threshold_that_no_config_can_have_is_refused_by_the_client_too(threshold: float) -> None:
    config = CompareConfig.model_construct(url="https://api.example/face/compare", threshold=threshold)
    with pytest.raises(ConfigError, match="threshold"):
        check_endpoint(config, False, 75.0)
