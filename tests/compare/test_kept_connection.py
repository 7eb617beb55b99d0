"""What a kept connection must not carry from one question to the next: an answer, a cookie, a picture."""

from __future__ import annotations

import asyncio
import gc

import pytest

from agent.compare.circuit_breaker import CircuitBreaker
from agent.compare.clock_offset import ClockOffset
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Reference
from agent.core.reasons import Reason
from agent.errors import CompareError
from tests.compare.servers import SUCCESS, Asked, endpoint, http, says
from tests.compare.test_client import client

PHOTO = b"\xff\xd8\xff\xe0 a photo"


def in_chunks(body: bytes) -> bytes:
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk


@pytest.mark.parametrize(
    "surplus", [http(SUCCESS), b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", in_chunks(SUCCESS)]
)
async def test_connection_with_bytes_after_an_answer_is_not_kept(surplus: bytes) -> None:
    other = SUCCESS.replace(b"91.5", b"1.0")
    async with (
        endpoint(says(http(SUCCESS) + surplus), says(http(other))) as server,
        client(server.url()) as api,
    ):
        assert (await api.compare(PHOTO, PHOTO, timeout_ms=2_000)).similarity == 91.5
        assert (await api.compare(PHOTO, PHOTO, timeout_ms=2_000)).similarity == 1.0
        assert server.connections == 2


async def test_connection_of_an_answer_in_chunks_is_kept() -> None:
    async with endpoint(says(in_chunks(SUCCESS))) as server, client(server.url()) as api:
        for _ in range(3):
            assert (await api.compare(PHOTO, PHOTO, timeout_ms=2_000)).similarity == 91.5
        assert server.connections == 1


async def test_an_answer_sent_twice_answers_one_question_only() -> None:
    """The second copy waits in the HTTP parser; it was read before the next question was sent.

    In chunks the end of the answer does not show that something came after it.
    """
    other = SUCCESS.replace(b"91.5", b"1.0")
    twice, later = says(in_chunks(SUCCESS) * 2), says(http(other))
    async with endpoint(twice, later, later) as server, client(server.url()) as api:
        assert (await api.compare(PHOTO, PHOTO, timeout_ms=2_000)).similarity == 91.5
        with pytest.raises(CompareError) as caught:
            await api.compare(PHOTO, PHOTO, timeout_ms=2_000)
        assert caught.value.code == Reason.COMPARE_MALFORMED
        assert (await api.compare(PHOTO, PHOTO, timeout_ms=2_000)).similarity == 1.0


async def test_no_cookie_is_kept() -> None:
    seen: list[str] = []

    async def baker(asked: Asked, writer: asyncio.StreamWriter) -> None:
        seen.append(str(asked.headers.get("cookie")))
        writer.write(http(SUCCESS, headers="Set-Cookie: crumb=1\r\n"))
        await writer.drain()

    async with endpoint(baker, baker, baker) as server, client(server.url()) as api:
        for _ in range(3):
            await api.compare(PHOTO, PHOTO, timeout_ms=2_000)
    assert seen == ["None"] * 3


def test_the_guard_remembers_a_word_and_no_picture() -> None:
    class Picture:
        pass

    def fail() -> CompareError:
        crop = Picture()
        try:
            raise CompareError(f"no answer about {id(crop)}", code=Reason.COMPARE_FAILED)
        except CompareError as error:
            return error

    guard = CircuitBreaker(0)
    guard.failed(fail(), 0)
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Picture)]


@pytest.mark.parametrize("host", ["xn--a", "xn--", "xn--999999999"])
async def test_a_host_nobody_can_decode_is_refused(host: str) -> None:
    store = ReferenceLoader(CompareConfig(), "shop")
    with pytest.raises(CompareError) as caught:
        await store.resolve(Reference(url=f"https://{host}/photo.jpg", sha256="00" * 32))
    assert caught.value.code == Reason.REFERENCE_REFUSED
    await store.close()


def test_a_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    skew = ClockOffset()
    skew.learn("Sat, 14 Mar 2026 16:00:00 -0000", boot_ms=0)
    assert skew.unix_s(boot_ms=0, wall_ms=0) == 1_773_504_000
