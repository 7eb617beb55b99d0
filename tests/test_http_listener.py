"""The listener of page and service, without either."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from agent.http_listener import HttpListener, ListenerLimits

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
        assert (await asyncio.wait_for(reader.read(), 30)).endswith(b"hello")
        writer.close()
    finally:
        await listener.close()
    assert "page_accept_failed" in caplog.text
