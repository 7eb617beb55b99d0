"""CompareFace over real HTTP: one connection, limits, time-outs, its own threshold."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest

from agent.compare.compareface import CompareFace2020
from agent.config import CompareConfig, Config
from agent.config.file import load
from agent.core.model import Crop, Reference
from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError, Retry
from agent.root import wiring
from tests.compare.servers import Asked, Play, endpoint, http, says
from tests.compare.test_client import request
from tests.fakes import RealClock
from tests.service.certificates import self_signed

NOW_S = 1_790_000_123
SECRET_ID, SECRET = "AKIDEXAMPLEEXAMPLEEXAMPLE", b"examplekeyexamplekeyexamplekey00"
SHOT, PHOTO = b"\xff\xd8\xff\xe0 the shot", b"\xff\xd8\xff\xe0 the enrolled photo \xfe\x00"
SUCCESS = b'{"Response":{"Score":87.25,"FaceModelVersion":"3.0","RequestId":"r-1"}}'


class Clock(RealClock):
    """A wall clock that stands still."""

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


async def test_one_connection_opened_ahead_carries_every_question() -> None:
    async with endpoint(says(http(SUCCESS))) as server, client(server.port) as api:
        one = request(Reference(image=PHOTO))
        await api.prepare(one)
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "compare-warm"))
        answer = await api.ask(one, Crop(SHOT, 100, 100), 1, 5_000, lambda: None)
        await api.ask(one, Crop(SHOT, 100, 100), 2, 5_000, lambda: None)
    assert answer.connect_ms == 0
    assert server.connections == 1
    assert [asked.method for asked in server.asked] == ["OPTIONS", "POST", "POST"]
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("sides", "reason"),
    [
        ((b"x" * 3_750_001, PHOTO), Reason.FACE_UNUSABLE),
        ((SHOT, b"x" * 3_750_001), Reason.REFERENCE_UNUSABLE),
    ],
)
async def test_a_picture_over_the_limit_is_not_sent(sides: tuple[bytes, bytes], reason: Reason) -> None:
    async with endpoint(says(http(SUCCESS))) as server, client(server.port) as api:
        with pytest.raises(CompareError) as caught:
            await api.compare(*sides, timeout_ms=5_000)
        assert (caught.value.code, server.posts) == (reason, [])
        assert (await api.compare(b"x" * 3_750_000, PHOTO, timeout_ms=5_000)).similarity == 87.25


async def test_without_a_plausible_time_nothing_is_signed() -> None:
    class Unset(RealClock):
        def unix_ms(self) -> int:
            return 3_600_000

    async with endpoint(says(http(SUCCESS))) as server:
        api = CompareFace2020(config(server.port), SECRET, Unset(), profile="demo")
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=5_000)
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
    async with endpoint(says(http(expired, headers=dated)), says(http(SUCCESS)), tls=context) as server:
        section = config(server.port, url=f"https://localhost:{server.port}", ca_file=cert_file)
        api = CompareFace2020(section, SECRET, Behind())
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=5_000)
        assert (caught.value.code, caught.value.retry) == (Reason.CLOCK, Retry.RESIGN)
        await api.compare(SHOT, PHOTO, timeout_ms=5_000)
        await api.close()
    first, second = (int(asked.headers["x-tc-timestamp"]) for asked in server.posts)
    assert 3_590 < second - first < 3_700


async def silent(_: Asked, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (silent, Reason.COMPARE_UNREACHABLE),
        (says(b"SSH-2.0-OpenSSH_9\r\n\r\n"), Reason.COMPARE_UNREACHABLE),
        (says(http(SUCCESS, headers="Content-Encoding: gzip\r\n")), Reason.COMPARE_MALFORMED),
        (says(http(b" " * 70_000 + SUCCESS)), Reason.COMPARE_MALFORMED),
        (says(http(b"<html>", "502 Bad Gateway")), Reason.COMPARE_FAILED),
        (says(http(b"", "404 Not Found")), Reason.COMPARE_CONFIG),
    ],
)
async def test_each_misbehaviour_has_a_name_and_the_next_question_works(script: Play, reason: Reason) -> None:
    async with endpoint(script, says(http(SUCCESS))) as server, client(server.port) as api:
        with pytest.raises(CompareError) as caught:
            await api.compare(SHOT, PHOTO, timeout_ms=400)
        assert caught.value.code == reason
        assert (await api.compare(SHOT, PHOTO, timeout_ms=5_000)).similarity == 87.25


# --- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"threshold": 49.9}, "floor"),
        ({"url": "http://localhost/face/compare"}, "no path"),
        ({"url": "ftp://localhost"}, "compare.url"),
        ({"secret_id": ""}, "secret_id"),
        ({"secret_id": "a/b"}, "secret_id"),
        ({"region": "ap singapore"}, "region"),
    ],
)
def test_a_config_that_cannot_be_right_is_refused_at_start(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        CompareFace2020(config(1).model_copy(update=changes), SECRET, Clock(), profile="demo")


def test_a_shop_does_not_speak_plain_http() -> None:
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
def test_a_threshold_belongs_to_its_provider(tmp_path: Path, lines: str, threshold: float) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[compare]\n{lines}\n")
    assert load(path, Config).compare.threshold == threshold


async def test_the_config_chooses_the_provider(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(SECRET + b"\n")
    async with endpoint(says(http(SUCCESS))) as server:
        section = config(server.port, secret_key_file=path)
        api = wiring.make_compare(Config(profile="demo", compare=section), wiring.BootClock())
        answer = await api.compare(SHOT, PHOTO, timeout_ms=5_000)
        await api.close()
    assert (answer.provider, answer.similarity) == ("compareface_2020", 87.25)
