"""The client against real sockets: what goes out, what may come back, and what never gets through."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import pytest

from agent.compare import secret, signature
from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.core.model import Crop, Reference, Request
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, ConfigError, Retry
from tests.compare.servers import SUCCESS, Asked, Play, endpoint, http, says
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


def request(reference: Reference | None = None, *, number: int = 1, budget_ms: int = 8_000) -> Request:
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
        budget_ms=budget_ms,
    )


async def ask(api: FaceCompare2018, *, timeout_ms: int = 5_000) -> float:
    return (await api.ask(request(), CROP, 1, timeout_ms, lambda: None)).similarity


# --- what goes out ---------------------------------------------------------------------------------


async def test_shot_and_photo_go_out_as_multipart_with_a_genuine_signature() -> None:
    async with endpoint(says(http(SUCCESS))) as server, client(server.url()) as api:
        answer = await api.ask(request(), CROP, 1, 5_000, lambda: None)
    assert (answer.similarity, answer.session_id, answer.threshold) == (91.5, "s1", 80)
    assert answer.provider == "face_compare_2018"
    (asked,) = server.posts
    assert asked.target == "/face/compare"
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    for part in (b'name="appid"', b'name="bucket"', b'name="imageA"', b'name="imageB"', CROP.jpeg, JPEG):
        assert asked.body.count(part) == 1
    assert asked.body.index(CROP.jpeg) < asked.body.index(JPEG)
    signed = signature.parse(asked.headers["authorization"])
    assert signature.is_genuine(signed, SECRET)
    assert signed.expires_s - signed.signed_s == 60
    assert signed.secret_id == ACCOUNT["secret_id"]


async def test_two_urls_go_out_as_json_and_a_mixed_question_as_multipart() -> None:
    async with endpoint(says(http(SUCCESS))) as server, client(server.url()) as api:
        await api.compare("http://a.example/1.jpg", "http://b.example/2.jpg", timeout_ms=5_000)
        await api.compare(JPEG, "http://b.example/2.jpg", timeout_ms=5_000)
    urls, mixed = server.posts
    assert urls.headers["content-type"] == "application/json"
    assert b'"urlA":"http://a.example/1.jpg"' in urls.body
    assert b'name="imageA"' in mixed.body and b'name="urlB"' in mixed.body and b"imageB" not in mixed.body


async def test_every_question_is_signed_anew() -> None:
    async with endpoint(says(http(SUCCESS))) as server, client(server.url()) as api:
        await ask(api)
        await ask(api)
    first, second = server.posts
    assert first.headers["authorization"] != second.headers["authorization"]


async def test_preparing_opens_the_one_connection_that_the_questions_use() -> None:
    async with endpoint(says(http(SUCCESS))) as server, client(server.url()) as api:
        await api.prepare(request())
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "compare-warm"))
        answer = await api.ask(request(), CROP, 1, 5_000, lambda: None)
        await ask(api)
    assert answer.connect_ms == 0
    assert server.connections == 1
    assert [asked.method for asked in server.asked] == ["OPTIONS", "POST", "POST"]
    assert "authorization" not in server.asked[0].headers  # unsigned, so it cannot cost anything


async def test_an_endpoint_that_is_down_while_preparing_is_for_the_question_to_tell() -> None:
    async with client("http://127.0.0.1:9/face/compare") as api:
        await api.prepare(request())
        with pytest.raises(CompareUnreachable) as caught:
            await ask(api)
    assert caught.value.retry is Retry.SAME


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with endpoint(says(http(SUCCESS))) as server, client(server.url()) as api:
        assert await ask(api) == 91.5


async def test_a_rotated_key_signs_the_next_question(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"first\n")
    async with (
        endpoint(says(http(SUCCESS))) as server,
        client(server.url(), key=secret.from_file(file)) as api,
    ):
        await ask(api)
        file.write_bytes(b"second\n")
        await ask(api)
        file.unlink()
        with pytest.raises(CompareError) as caught:
            await ask(api)
    keys = [signature.parse(asked.headers["authorization"]) for asked in server.posts]
    assert signature.is_genuine(keys[0], b"first") and signature.is_genuine(keys[1], b"second")
    assert len(keys) == 2
    assert caught.value.code == Reason.COMPARE_CREDENTIALS


# --- what may come back ----------------------------------------------------------------------------


async def test_the_answer_to_a_timed_out_question_cannot_answer_the_next_one() -> None:
    answered = asyncio.Event()

    async def late(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        await says(http(SUCCESS.replace(b"91.5", b"99.9")))(asked, writer)

    async with endpoint(late, says(http(SUCCESS))) as server, client(server.url()) as api:
        with pytest.raises(CompareUnreachable):
            await ask(api, timeout_ms=100)
        answered.set()
        assert await ask(api) == 91.5
        assert server.connections == 2


async def test_a_cancelled_question_takes_its_connection_with_it() -> None:
    stuck = asyncio.Event()

    async def hang(_: Asked, __: asyncio.StreamWriter) -> None:
        await stuck.wait()

    async with endpoint(hang, says(http(SUCCESS))) as server, client(server.url()) as api:
        question = asyncio.create_task(ask(api))
        await server.posted.wait()
        question.cancel()
        with pytest.raises(asyncio.CancelledError):
            await question
        stuck.set()
        assert await ask(api) == 91.5
        assert server.connections == 2


async def drip(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()


async def hang_up(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()
    raise ConnectionError


async def hang_up_midway(_: Asked, writer: asyncio.StreamWriter) -> None:
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
        (says(b"SSH-2.0-OpenSSH_9\r\n\r\n"), Reason.COMPARE_UNREACHABLE, Retry.SAME),
        (says(http(SUCCESS[:-1])), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (says(http(b"<html>", "502 Bad Gateway")), Reason.COMPARE_FAILED, Retry.BACKOFF),
        (says(http(b"", "500 Oops")), Reason.COMPARE_FAILED, Retry.BACKOFF),
        (
            says(http(b"", "302 Found", "Location: http://evil.example/\r\n")),
            Reason.COMPARE_CONFIG,
            Retry.NEVER,
        ),
        (says(http(SUCCESS, headers="Content-Encoding: gzip\r\n")), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (says(http(SUCCESS.replace(b"91.5", b"NaN"))), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (says(http(SUCCESS, "403 Forbidden")), Reason.COMPARE_MALFORMED, Retry.NEVER),
        (says(http(b'{"code":15}')), Reason.COMPARE_BUSY, Retry.BACKOFF),
        (says(http(b'{"code":9}')), Reason.CLOCK, Retry.RESIGN),
    ],
)
async def test_each_misbehaviour_has_a_name_and_the_next_question_works(
    script: Play, reason: Reason, retry: Retry
) -> None:
    async with (
        endpoint(script, says(http(SUCCESS))) as server,
        client(server.url()) as api,
    ):
        with pytest.raises(CompareError) as caught:
            await ask(api, timeout_ms=400)
        assert (caught.value.code, caught.value.retry) == (reason, retry)
        assert await ask(api) == 91.5


# --- the reference ---------------------------------------------------------------------------------


async def test_a_prepared_reference_is_not_fetched_again_and_dropped_after_the_deadline() -> None:
    photo = http(JPEG)
    async with endpoint(says(photo)) as photos, endpoint(says(http(SUCCESS))) as server:
        host = f"localhost:{photos.port}"
        async with client(server.url(), reference_hosts=(host,)) as api:
            one = request(Reference(url=f"http://{host}/p.jpg"), budget_ms=3_000)
            await api.prepare(one)
            await api.ask(one, CROP, 1, 5_000, lambda: None)
            await api.ask(one, CROP, 2, 5_000, lambda: None)
            assert len(photos.posts) == 1
            async with asyncio.timeout(30):
                while len(photos.posts) == 1:
                    await asyncio.sleep(0.2)
                    await api.ask(one, CROP, 3, 5_000, lambda: None)
            assert len(photos.posts) == 2
    assert all(JPEG in asked.body for asked in server.posts)


# --- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "profile", "word"),
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
def test_a_config_that_cannot_be_right_is_refused_at_start(
    changes: dict[str, object], profile: Literal["demo", "shop"], word: str
) -> None:
    wrong = config("https://api.example/face/compare").model_copy(update=changes)
    with pytest.raises(ConfigError, match=word):
        FaceCompare2018(wrong, SECRET, RealClock(), profile=profile)


def test_the_threshold_floor_itself_is_allowed() -> None:
    FaceCompare2018(config("https://api.example/", threshold=75), SECRET, RealClock())
