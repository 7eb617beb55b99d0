"""A scripted TCP server: an endpoint whose answers are given byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

SUCCESS = b'{"data":{"similarity":91.5,"session_id":"s1"},"code":0,"message":"OK"}'


@dataclass
class ReceivedRequest:
    """One request as received."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


Play = Callable[[ReceivedRequest, asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def replies(raw: bytes) -> Play:
    """A script that answers with these bytes."""

    async def play(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return play


class Endpoint:
    """Runs one script per POST or GET and repeats the last script. OPTIONS gets 204."""

    def __init__(self, *scripts: Play, port: int, server: asyncio.Server) -> None:
        self.port = port
        self.requests: list[ReceivedRequest] = []
        self.posted = asyncio.Event()  # set by the first POST or GET
        self.connections = 0
        self.closed_by_client = 0
        self._scripts = list(scripts)
        self._server = server

    @property
    def posts(self) -> list[ReceivedRequest]:
        return [received for received in self.requests if received.method != "OPTIONS"]

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://localhost:{self.port}/face/compare"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                received = await _read(reader)
                self.requests.append(received)
                if received.method == "OPTIONS":
                    await replies(b"HTTP/1.1 204 No Content\r\n\r\n")(received, writer)
                else:
                    self.posted.set()
                    script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                    await script(received, writer)
                del received  # no reference to its body while the connection is idle
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_by_client += 1
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return ReceivedRequest(method, target, headers, body)


@contextlib.asynccontextmanager
async def endpoint(*scripts: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """A server on a free loopback port."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await found.serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    found = Endpoint(*scripts, port=server.sockets[0].getsockname()[1], server=server)
    try:
        yield found
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
