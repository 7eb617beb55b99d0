"""No connection carries an answer, a cookie or a picture from one call to the next.

A connection of an API call is not reused. Connections of photo downloads and of OPTIONS are.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator
from importlib.abc import MetaPathFinder

import httpx
import pytest

from agent.compare import http_channel
from agent.compare.circuit_breaker import CircuitBreaker
from agent.compare.exchange import ExchangeConnection
from agent.compare.http_channel import ClockOffset, HttpChannel
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Reference
from agent.core.reasons import Reason
from agent.errors import CompareError
from tests.compare.servers import SUCCESS, Endpoint, Play, ReceivedRequest, endpoint, http, replies
from tests.compare.test_client import CROP, client, request
from tests.fakes import RealClock

PHOTO = b"\xff\xd8\xff\xe0 a photo"
FAILURE = b'{"code":-1101,"data":{"fail_flag":2}}'
OTHER = SUCCESS.replace(b"91.5", b"1.0")


def in_chunks(body: bytes) -> bytes:
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk


@contextlib.asynccontextmanager
async def photo_store(server: Endpoint) -> AsyncIterator[tuple[ReferenceLoader, Reference]]:
    host = f"localhost:{server.port}"
    store = ReferenceLoader(CompareConfig(reference_hosts=(host,), reference_timeout_ms=60_000), "demo")
    try:
        yield store, Reference(url=f"http://{host}/photo.jpg")
    finally:
        await store.close()


@pytest.mark.parametrize(
    "surplus", [http(PHOTO), b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", in_chunks(PHOTO)]
)
async def test_connection_with_bytes_after_an_answer_is_not_reused(surplus: bytes) -> None:
    other = PHOTO + b" of another person"
    async with endpoint(replies(http(PHOTO) + surplus), replies(http(other))) as server:
        async with photo_store(server) as (store, reference):
            assert await store.resolve(reference) == PHOTO
            assert await store.resolve(reference) == other
        assert server.connections == 2


async def test_connection_of_a_chunked_answer_is_reused() -> None:
    async with endpoint(replies(in_chunks(PHOTO))) as server:
        async with photo_store(server) as (store, reference):
            for _ in range(3):
                assert await store.resolve(reference) == PHOTO
        assert server.connections == 1


class Pieces:
    """A stream of httpcore that delivers an answer in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def get_extra_info(self, name: str) -> object:
        return None

    async def read(self, most_bytes: int) -> bytes:
        return self._pieces.pop(0)


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\n\r\nx"])
async def test_end_of_a_chunked_answer_is_found_across_two_reads(end: bytes) -> None:
    answer = in_chunks(SUCCESS).removesuffix(b"0\r\n\r\n")
    async with httpx.AsyncClient() as http_client:
        connection = ExchangeConnection(http_client)
        stream = Pieces(answer + end[:2], end[2:])
        connection.register_stream(stream)
        connection.begin()
        for _ in range(2):
            await stream.read(65_536)
        connection.finish(len(SUCCESS), is_chunked=True)
        assert connection.is_spent is (end[-1:] == b"x")


class Searches(MetaPathFinder):
    """Records each module that an import searches for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        self.names.append(fullname)


async def test_request_searches_for_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = Searches()
    async with (
        endpoint(replies(http(SUCCESS)), replies(http(SUCCESS))) as server,
        client(server.url()) as api,
    ):
        await api.compare(PHOTO, PHOTO, timeout_ms=60_000)
        monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])
        await api.compare(PHOTO, PHOTO, timeout_ms=60_000)
    assert searches.names == []


async def test_answer_that_was_read_before_its_request_is_refused() -> None:
    """It waits in the HTTP parser. A chunked answer does not show that surplus bytes follow."""
    twice = replies(in_chunks(b"{}") + in_chunks(SUCCESS))
    async with endpoint(twice, replies(http(OTHER))) as server:
        channel = HttpChannel(server.url(), None, RealClock())
        request = channel.http.build_request("GET", server.url())
        assert (await channel.send(request, 60_000, closes_connection=False)).body == b"{}"
        with pytest.raises(CompareError) as caught:
            await channel.send(request, 60_000)
        assert caught.value.code == Reason.COMPARE_MALFORMED
        assert (await channel.send(request, 60_000)).body == OTHER
        await channel.close()


def late_similarity(first: bytes) -> Play:
    """A script that answers with ``first``, and with a similarity while the next call waits."""

    async def play(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(http(first))
        await writer.drain()
        await asyncio.sleep(0.1)  # the client has sent its next request by now
        with contextlib.suppress(ConnectionError):
            writer.write(http(SUCCESS))
            await writer.drain()

    return play


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("first", [SUCCESS, FAILURE])
async def test_connection_of_a_call_is_not_reused(first: bytes, warm: bool) -> None:
    """An answer can come twice, and a similarity after an error, while the API works on the next call."""
    async with (
        endpoint(late_similarity(first), replies(http(OTHER))) as server,
        client(server.url()) as api,
    ):
        if warm:
            await api._provider.channel.open_early()
        with contextlib.suppress(CompareError):
            await api.compare(PHOTO, PHOTO, timeout_ms=60_000)
        assert (await api.compare(PHOTO, PHOTO, timeout_ms=60_000)).similarity == 1.0
        assert server.connections == 2


async def test_call_closes_the_connection_of_an_unanswered_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API with one connection for each client serves no call until the other connection is closed."""
    monkeypatch.setattr(http_channel, "_WARM_TIMEOUT_MS", 600_000)
    is_received, is_closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"OPTIONS"):
            is_received.set()
            await reader.read()
            is_closed.set()
        else:
            size = head.lower().partition(b"content-length: ")[2]
            await reader.readexactly(int(size.partition(b"\r\n")[0]))
            await is_closed.wait()
            writer.write(http(SUCCESS))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as api:
        await api.prepare(request())
        await is_received.wait()
        answer = await api.call(PHOTO, CROP, 1, 10_000, lambda: None)
    assert answer.similarity == 91.5


async def test_connection_of_a_call_cancelled_as_its_answer_completes_is_not_reused() -> None:
    async with (
        endpoint(late_similarity(SUCCESS), replies(http(OTHER))) as server,
        client(server.url()) as api,
    ):
        call = asyncio.create_task(api.compare(PHOTO, PHOTO, timeout_ms=60_000))
        exchanges: list[asyncio.Task[object]] = []
        while not exchanges:  # its task starts after some iterations of the loop
            await asyncio.sleep(0)
            exchanges = [task for task in asyncio.all_tasks() if task.get_name() == "exchange"]
        exchanges[0].add_done_callback(lambda _: call.cancel())
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await api.compare(PHOTO, PHOTO, timeout_ms=60_000)).similarity == 1.0
        assert server.connections == 2


async def test_no_cookie_is_stored() -> None:
    cookies: list[str] = []

    async def baker(received: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        cookies.append(str(received.headers.get("cookie")))
        writer.write(http(SUCCESS, headers="Set-Cookie: crumb=1\r\n"))
        await writer.drain()

    async with endpoint(baker, baker, baker) as server, client(server.url()) as api:
        for _ in range(3):
            await api.compare(PHOTO, PHOTO, timeout_ms=60_000)
    assert cookies == ["None"] * 3


def test_circuit_breaker_keeps_the_code_and_no_picture() -> None:
    class Picture:
        pass

    def fail() -> CompareError:
        crop = Picture()
        try:
            raise CompareError(f"no answer about {id(crop)}", code=Reason.COMPARE_FAILED)
        except CompareError as error:
            return error

    breaker = CircuitBreaker(0)
    breaker.record_failure(fail(), 0)
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Picture)]


@pytest.mark.parametrize("host", ["xn--a", "xn--", "xn--999999999"])
async def test_host_that_idna_cannot_decode_is_refused(host: str) -> None:
    store = ReferenceLoader(CompareConfig(), "shop")
    with pytest.raises(CompareError) as caught:
        await store.resolve(Reference(url=f"https://{host}/photo.jpg", sha256="00" * 32))
    assert caught.value.code == Reason.REFERENCE_REFUSED
    await store.close()


def test_date_without_a_zone_is_utc() -> None:
    offset = ClockOffset()
    offset.add_sample("Sat, 14 Mar 2026 16:00:00 -0000", boot_ms=0)
    assert offset.unix_s(boot_ms=0, wall_ms=0) == 1_773_504_000
