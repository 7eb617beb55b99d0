"""The listener of page and service, without either."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
from starlette.responses import PlainTextResponse

from agent.http_connection import HEADER_MAX_BYTES, Closed, _Parser
from agent.http_listener import HttpListener, ListenerLimits, bind
from agent.service.service_listener import ServiceListener
from agent.service.stats import Stats
from tests.service.certificates import self_signed

LIMITS = ListenerLimits(handshake_s=5.0, header_s=5.0, keepalive_s=5.0, accepts_per_s=100, backlog=8)


class Unlimited(HttpListener):
    def refusal_for(self, peer: str) -> bytes | None:
        return None


class OutOfDescriptors(socket.socket):
    """A listening socket whose first ``accept`` fails."""

    has_failed = False

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.has_failed:
            self.has_failed = True
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_accept_without_a_free_descriptor_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = Unlimited(PlainTextResponse("hello"), LIMITS, log_prefix="page_")
    bound = OutOfDescriptors(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    listener.listen(bound)
    try:
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"hello")
        writer.close()
    finally:
        await listener.close()
    assert "page_accept_failed" in caplog.text


async def test_a_closed_connection_whose_client_reads_nothing_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rest of an answer below the limit of the send buffer is no reason to wait without a limit."""
    monkeypatch.setattr("agent.http_connection.UNREAD_S", 0.2)
    listener = Unlimited(PlainTextResponse(b"x" * 60_000), LIMITS)
    causes = list[Closed]()
    monkeypatch.setattr(listener, "note_closed", lambda cause, _: causes.append(cause))
    bound = bind("127.0.0.1", 0)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    listener.listen(bound)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(bound.getsockname())
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        try:
            async with asyncio.timeout(60):
                while not listener.open_now:  # noqa: ASYNC110 - no event for it
                    await asyncio.sleep(0.01)
                (connection,) = listener.open_now
                while not connection.transport.is_closing():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert connection.transport.get_write_buffer_size() and connection.unread_since_s is None
                while listener.peers:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert causes == [Closed.UNREAD]
        finally:
            await listener.close()


async def test_connections_of_one_burst_give_way_to_the_newest() -> None:
    """All are in the backlog at once, as after a pause of the process."""
    listener = ServiceListener(PlainTextResponse("hello"), Stats(), connections_max=4)
    bound = bind("127.0.0.1", 0)
    listener.listen(bound)
    links = [socket.create_connection(bound.getsockname()) for _ in range(9)]
    links[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        reader, writer = await asyncio.open_connection(sock=links[-1])
        assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"hello")
        writer.close()
    finally:
        await listener.close()
        for link in links[:-1]:
            link.close()


# --- the TLS handshake -----------------------------------------------------------------------------

WANTED = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def tls_service(
    folder: Path, connections_max: int
) -> AsyncIterator[tuple[ServiceListener, Stats, Any]]:
    """(listener, its metrics, an asynchronous function: one request from an address of this machine)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(folder))
    stats = Stats()
    listener = ServiceListener(
        PlainTextResponse("hello"), stats, connections_max=connections_max, tls=context
    )
    bound = bind("127.0.0.1", 0)
    listener.listen(bound)
    trust = ssl.create_default_context(cafile=str(folder / "cert.pem"))

    async def request(address: str) -> bytes:
        reader, writer = await asyncio.open_connection(
            *bound.getsockname(), ssl=trust, server_hostname="localhost", local_addr=(address, 0)
        )
        writer.write(WANTED)
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer

    try:
        yield listener, stats, request
    finally:
        await listener.close()


async def silent(listener: ServiceListener, count: int, address: str) -> list[socket.socket]:
    """Connections of one address that never begin their handshake; all are accepted."""
    assert listener._socket is not None
    server, links = listener._socket.getsockname(), list[socket.socket]()
    for _ in range(count):
        links.append(socket.create_connection(server, source_address=(address, 0)))
        await asyncio.sleep(0.01)
    return links


async def test_handshakes_of_one_address_hold_a_quarter_of_the_connections(tmp_path: Path) -> None:
    async with tls_service(tmp_path, connections_max=8) as (listener, stats, request):
        links = await silent(listener, 20, "127.0.0.1")
        assert 1 <= len(listener.handshakes) <= 2
        for address in ("127.0.0.1", "127.0.0.2"):
            assert (await request(address)).endswith(b"hello"), address
        assert b'connections_closed_total{cause="gave_way"}' in stats.exposition()
        for link in links:
            link.close()


async def test_handshakes_of_many_addresses_give_way_to_a_client(tmp_path: Path) -> None:
    async with tls_service(tmp_path, connections_max=8) as (listener, _, request):
        links = [link for n in range(2, 8) for link in await silent(listener, 2, f"127.0.0.{n}")]
        assert len(listener.handshakes) == 8
        assert (await request("127.0.0.9")).endswith(b"hello")
        for link in links:
            link.close()


async def test_connection_with_a_request_does_not_give_way_to_handshakes(tmp_path: Path) -> None:
    """At the limit only connections without a request are closed."""
    may_answer = asyncio.Event()

    async with tls_service(tmp_path, connections_max=4) as (listener, _, request):

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await may_answer.wait()
            await PlainTextResponse("slow")(scope, receive, send)

        listener._config.loaded_app = slow
        asked = asyncio.create_task(request("127.0.0.2"))
        while not any(not each.is_idle for each in listener.open_now):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        links = [link for n in range(3, 12) for link in await silent(listener, 1, f"127.0.0.{n}")]
        assert len(listener.peers) == 4
        may_answer.set()
        assert (await asked).endswith(b"slow")
        for link in links:
            link.close()


def tls_connections() -> int:
    """Those with their buffers in memory, also when nothing but a reference cycle holds them."""
    return sum(type(each) is SSLProtocol for each in gc.get_objects())


async def test_tls_connections_leave_no_buffer_in_memory(tmp_path: Path) -> None:
    """With the garbage collector off: it can run after thousands of connections."""
    gc.collect()
    gc.disable()
    try:
        async with tls_service(tmp_path, connections_max=8) as (listener, _, request):
            for link in await silent(listener, 20, "127.0.0.1"):
                link.close()
            for n in range(10):
                address = f"127.0.0.{2 + n}"
                (link,) = await silent(listener, 1, address)
                link.sendall(b"no handshake" * 9)
                link.close()
                assert (await request(address)).endswith(b"hello")
            async with asyncio.timeout(30):
                while tls_connections() > 2:  # noqa: ASYNC110 - the client's last connections
                    await asyncio.sleep(0.05)
    finally:
        gc.enable()


async def test_tls_client_without_close_notify_is_closed_and_not_counted_as_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its answer. asyncio would wait 30 s for its close_notify."""
    monkeypatch.setattr("agent.http_connection.UNREAD_S", 0.2)
    async with tls_service(tmp_path, connections_max=4) as (listener, stats, _):
        assert listener._socket is not None
        with socket.create_connection(listener._socket.getsockname()) as link:
            await asyncio.to_thread(
                answered_over_tls, link, ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
            )
            async with asyncio.timeout(20):
                while listener.peers:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        assert b'cause="unread"' not in stats.exposition()


async def test_connection_that_ends_during_the_sweep_does_not_end_the_sweep(tmp_path: Path) -> None:
    """Its socket is closed before the listener has heard of the end, for one iteration of the event loop."""
    async with tls_service(tmp_path, connections_max=4) as (listener, _, _request):
        assert listener._socket is not None
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        _, writer = await asyncio.open_connection(
            *listener._socket.getsockname(), ssl=trust, server_hostname="localhost"
        )
        while not listener.open_now:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        (ending,) = listener.open_now
        ending.unread_since_s = float("-inf")  # its client reads nothing
        ending.transport.abort()
        while listener.open_now:
            listener.sweep()
            await asyncio.sleep(0)
        writer.transport.abort()


def answered_over_tls(link: socket.socket, trust: ssl.SSLContext) -> None:
    """One request over TLS. The client then neither closes nor answers a close."""
    received, sent, answer = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
    tls, has_asked = trust.wrap_bio(received, sent, server_hostname="localhost"), False
    while not answer.endswith(b"hello"):
        try:
            tls.do_handshake()
            has_asked = has_asked or bool(tls.write(WANTED))
            answer += tls.read()
        except ssl.SSLWantReadError:
            link.sendall(sent.read())
            received.write(link.recv(65_536))


# --- requests that cost more than their bytes ------------------------------------------------------


@asynccontextmanager
async def plain_service(*, reads_the_body: bool) -> AsyncIterator[tuple[str, int]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while reads_the_body and (await receive()).get("more_body"):
            pass
        await PlainTextResponse("hello")(scope, receive, send)

    listener = ServiceListener(app, Stats(), connections_max=4)
    bound = bind("127.0.0.1", 0)
    listener.listen(bound)
    try:
        yield bound.getsockname()
    finally:
        await listener.close()


POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_broken_body_after_the_answer_is_no_error_of_the_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with plain_service(reads_the_body=False) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST)
        await reader.readuntil(b"hello")
        writer.write(b"no length\r\n")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize(("size", "status"), [(1, b"400"), (300, b"200")])
async def test_body_in_thousands_of_small_pieces_is_refused(size: int, status: bytes) -> None:
    piece = b"%x\r\n%s\r\n" % (size, b"x" * size)
    async with plain_service(reads_the_body=True) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST + piece * 3_000 + b"0\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
        assert answer.split()[1] == status
        writer.close()


@pytest.mark.parametrize(
    ("trailer", "status"), [(b"", b"200"), (b"a: b\r\n", b"400"), (b"a:\n" * 5_000, b"400")]
)
async def test_body_with_a_trailer_is_refused(trailer: bytes, status: bytes) -> None:
    async with plain_service(reads_the_body=True) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(POST + b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
        writer.close()
    assert answer.split()[1] == status


def ends(parts: list[bytes]) -> list[h11.EndOfMessage]:
    """The ends of the bodies that the parser of the service finds."""
    parser, found = _Parser(h11.SERVER, HEADER_MAX_BYTES), list[h11.EndOfMessage]()
    for part in parts:
        parser.receive_data(part)
        while (event := parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            found += [event] if isinstance(event, h11.EndOfMessage) else []
    return found


@pytest.mark.parametrize("last", [b"0\r\n", b"000 \t\r\n", b"0;x=1\r\n", b"0;a\rb\r\n"])
@pytest.mark.parametrize("before", [b"", b"5\r\nhello\r\n", b"0a\r\n0123456789\r\n"])
def test_no_cut_of_the_bytes_passes_a_trailer_to_the_parser(last: bytes, before: bytes) -> None:
    """h11 parses all fields of a trailer at once, 40 ms for 64 kB, while no other connection runs."""
    whole = POST + before + last
    for at in range(len(POST), len(whole) + 3):
        for after, trailer in ((b"\r\n", b""), (b"\n", b""), (b"\r\n", b"a: b\r\n"), (b"\n", b"a:\n b\n")):
            sent = whole + trailer + after
            for parts in ([sent[:at], sent[at:]], [sent[:at], *(bytes([each]) for each in sent[at:])]):
                if trailer:
                    with pytest.raises(h11.RemoteProtocolError, match="trailer"):
                        ends(parts)
                else:
                    assert len(ends([each for each in parts if each])) == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"a: b\r\n" * 90, b"200"),
        (b"a: b\r\n" * 110, b"400"),
        (b"a: %s\r\n" % (b"b" * 20_000), b"400"),
    ],
    ids=["90 lines", "110 lines", "20 kB"],
)
@pytest.mark.parametrize("is_pipelined", [False, True])
async def test_large_header_is_refused_also_when_it_arrives_as_a_whole(
    lines: bytes, status: bytes, is_pipelined: bool
) -> None:
    first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if is_pipelined else b""
    async with plain_service(reads_the_body=True) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(first + b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"Connection: close\r\n\r\n")
        answers = await asyncio.wait_for(reader.read(), 30)
        writer.close()
    statuses = [part.split()[0] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == ([b"200"] if is_pipelined else []) + [status]
