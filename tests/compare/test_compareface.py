"""The 2020 client over real HTTP: one connection, limits, timeouts, threshold."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import get_args

import pytest

from agent.compare.compareface import CompareFace2020
from agent.config import CompareConfig, Config
from agent.config.file import load
from agent.core.model import Crop, Reference
from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError, Retry
from agent.root import wiring
from tests.compare.servers import Play, ReceivedRequest, endpoint, http, replies
from tests.compare.test_client import request
from tests.fakes import RealClock
from tests.service.certificates import self_signed

NOW_S = 1_790_000_123
SECRET_ID, SECRET = "AKIDEXAMPLEEXAMPLEEXAMPLE", b"examplekeyexamplekeyexamplekey00"
SHOT, PHOTO = b"\xff\xd8\xff\xe0 the shot", b"\xff\xd8\xff\xe0 the enrolled photo \xfe\x00"
SUCCESS = b'{"Response":{"Score":87.25,"FaceModelVersion":"3.0","RequestId":"r-1"}}'


class Clock(RealClock):
    """A stopped wall clock."""

    def unix_ms(self) -> int:
        return NOW_S * 1_000


def config(port: int, **more: object) -> CompareConfig:
    keys = {"provider": "compareface_2020", "url": f"http://localhost:{port}", "secret_id": SECRET_ID}
    return CompareConfig.model_validate({**keys, **more})


@contextlib.asynccontextmanager
async def client(port: int, **more: object) -> AsyncIterator[CompareFace2020]:
    made = CompareFace2020(config(port, **more), SECRET, Clock(), profile="demo")
    try:
        yield made
    finally:
        await made.close()


# --- the connection --------------------------------------------------------------------------------


async def test_connection_opened_by_prepare_serves_one_similarity() -> None:
    async with endpoint(replies(http(SUCCESS))) as server, client(server.port) as api:
        reference = await api.prepare(request(Reference(image=PHOTO)))
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "compare-warm"))
        answer = await api.call(reference, Crop(SHOT, 100, 100), 1, 5_000, lambda: None)
        await api.call(reference, Crop(SHOT, 100, 100), 2, 5_000, lambda: None)
    assert answer.connect_ms == 0
    assert server.connections == 2
    assert [received.method for received in server.requests] == ["OPTIONS", "POST", "POST"]
    assert "authorization" not in server.requests[0].headers


async def test_connection_of_a_call_that_ends_with_an_error_is_not_reused() -> None:
    failure = b'{"Response":{"Error":{"Code":"InvalidParameterValue.NoFaceInPhoto"},"RequestId":"1"}}'
    async with endpoint(replies(http(failure)), replies(http(SUCCESS))) as server, client(server.port) as api:
        with pytest.raises(CompareError):
            await api.call(PHOTO, Crop(SHOT, 100, 100), 1, 5_000, lambda: None)
        await api.call(PHOTO, Crop(SHOT, 100, 100), 2, 5_000, lambda: None)
        assert server.connections == 2


@pytest.mark.parametrize(
    ("sides", "reason"),
    [
        ((b"x" * 3_750_001, PHOTO), Reason.FACE_UNUSABLE),
        ((SHOT, b"x" * 3_750_001), Reason.REFERENCE_UNUSABLE),
    ],
)
async def test_a_picture_over_the_limit_is_not_sent(sides: tuple[bytes, bytes], reason: Reason) -> None:
    async with endpoint(replies(http(SUCCESS))) as server, client(server.port) as api:
        with pytest.raises(CompareError) as caught:
            await api.compare(*sides, timeout_ms=60_000)
        assert (caught.value.code, server.posts) == (reason, [])
        assert (await api.compare(b"x" * 3_750_000, PHOTO, timeout_ms=60_000)).similarity == 87.25


async def test_without_a_plausible_time_nothing_is_signed() -> None:
    class Unset(RealClock):
        def unix_ms(self) -> int:
            return 3_600_000

    async with endpoint(replies(http(SUCCESS))) as server:
        api = CompareFace2020(config(server.port), SECRET, Unset(), profile="demo")
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=60_000)
        await api.close()
    assert (caught.value.code, server.posts) == (Reason.CLOCK, [])


async def test_a_terminal_an_hour_behind_learns_the_time_from_its_first_refusal(tmp_path: Path) -> None:
    class Behind(RealClock):
        def unix_ms(self) -> int:
            return super().unix_ms() - 3_600_000

    cert_file, key_file = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    expired = b'{"Response":{"Error":{"Code":"AuthFailure.SignatureExpire","Message":""},"RequestId":"r"}}'
    dated = f"Date: {formatdate(usegmt=True)}\r\n"
    async with endpoint(replies(http(expired, headers=dated)), replies(http(SUCCESS)), tls=context) as server:
        section = config(server.port, url=f"https://localhost:{server.port}", ca_file=cert_file)
        api = CompareFace2020(section, SECRET, Behind())
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=60_000)
        assert (caught.value.code, caught.value.retry) == (Reason.CLOCK, Retry.RESIGN)
        await api.compare(SHOT, PHOTO, timeout_ms=60_000)
        await api.close()
    first, second = (int(received.headers["x-tc-timestamp"]) for received in server.posts)
    assert 3_590 < second - first < 3_700


async def silent(_: ReceivedRequest, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (silent, Reason.COMPARE_UNREACHABLE),
        (replies(b"SSH-2.0-OpenSSH_9\r\n\r\n"), Reason.COMPARE_UNREACHABLE),
        (replies(http(SUCCESS, headers="Content-Encoding: gzip\r\n")), Reason.COMPARE_MALFORMED),
        (replies(http(b" " * 70_000 + SUCCESS)), Reason.COMPARE_MALFORMED),
        (replies(http(b"<html>", "502 Bad Gateway")), Reason.COMPARE_FAILED),
        (replies(http(b"", "404 Not Found")), Reason.COMPARE_CONFIG),
    ],
)
async def test_each_invalid_answer_is_a_named_error_and_the_next_call_works(
    script: Play, reason: Reason
) -> None:
    async with endpoint(script, replies(http(SUCCESS))) as server, client(server.port) as api:
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=400 if script is silent else 60_000)
        assert caught.value.code == reason
        assert (await api.compare(SHOT, PHOTO, timeout_ms=60_000)).similarity == 87.25


# --- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"threshold": 49.9}, "floor"),
        ({"url": "http://localhost/face/compare"}, "no path"),
        ({"url": "ftp://localhost"}, "compare.url"),
        ({"secret_id": ""}, "secret_id"),
        ({"secret_id": "a/b"}, "secret_id"),
        ({"region": "ap singapore"}, "region"),
    ],
)
def test_implausible_config_is_refused_at_start(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        CompareFace2020(config(1).model_copy(update=changes), SECRET, Clock(), profile="demo")


def test_plain_http_in_a_shop_is_refused() -> None:
    with pytest.raises(ConfigError, match="plain http"):
        CompareFace2020(config(1), SECRET, Clock())


@pytest.mark.parametrize(
    ("lines", "threshold"),
    [
        ('provider = "compareface_2020"', 60),
        ('provider = "compareface_2020"\nthreshold = 50', 50),
        ("", 80),
    ],
)
def test_default_threshold_depends_on_the_provider(tmp_path: Path, lines: str, threshold: float) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[compare]\n{lines}\n")
    assert load(path, Config).compare.threshold == threshold


async def test_configured_provider_is_made(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(SECRET + b"\n")
    async with endpoint(replies(http(SUCCESS))) as server:
        section = config(server.port, secret_key_file=path)
        api = wiring.make_compare(Config(profile="demo", compare=section), wiring.BootClock())
        answer = await api.compare(SHOT, PHOTO, timeout_ms=60_000)
        await api.close()
    assert (answer.provider, answer.similarity) == ("compareface_2020", 87.25)


async def test_each_declared_provider_has_a_client_class_of_its_own(tmp_path: Path) -> None:
    providers = get_args(CompareConfig.model_fields["provider"].annotation)
    classes = set[type]()
    for provider in providers:
        section = config(1, provider=provider, appid="1", threshold=80, secret_key_file=tmp_path / "key")
        api = wiring.make_compare(Config(profile="demo", compare=section), wiring.BootClock())
        classes.add(type(api))
        await api.close()
    assert len(classes) == len(providers) >= 2


def test_provider_that_is_declared_and_not_wired_makes_no_client(tmp_path: Path) -> None:
    """mypy reports the missing ``case`` of ``make_compare``; at run time no other provider is used."""
    section = config(1, secret_key_file=tmp_path / "key").model_copy(update={"provider": "example_2027"})
    unwired = Config(profile="demo").model_copy(update={"compare": section})
    with pytest.raises(AssertionError, match="example_2027"):
        wiring.make_compare(unwired, wiring.BootClock())
