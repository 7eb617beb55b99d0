"""A real TCP server that plays a script: how an endpoint may behave, down to the bytes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

SUCCESS = b'{"data":{"similarity":91.5,"session_id":"s1"},"code":0,"message":"OK"}'


@dataclass
class Asked:
    """One request as it stood on the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


Play = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def says(raw: bytes) -> Play:
    """Answer with these bytes."""

    async def play(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return play


class Endpoint:
    """Plays one script per POST, the last one for ever; OPTIONS gets 204, GET plays like POST."""

    def __init__(self, *scripts: Play, port: int, server: asyncio.Server) -> None:
        self.port = port
        self.asked: list[Asked] = []
        self.posted = asyncio.Event()  # the first question has arrived
        self.connections = 0
        self.closed_by_client = 0
        self._scripts = list(scripts)
        self._server = server

    @property
    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method != "OPTIONS"]

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://localhost:{self.port}/face/compare"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                asked = await _read(reader)
                self.asked.append(asked)
                if asked.method == "OPTIONS":
                    await says(b"HTTP/1.1 204 No Content\r\n\r\n")(asked, writer)
                else:
                    self.posted.set()
                    script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                    await script(asked, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_by_client += 1
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Asked(method, target, headers, body)


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
