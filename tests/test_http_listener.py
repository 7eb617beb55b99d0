"""The listener of page and service, without either."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from agent.http_listener import HttpListener, ListenerLimits, bind
from agent.service.service_listener import ServiceListener
from agent.service.stats import Stats

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
