"""The faulty compare API of ``tests.bench.faulty_api``: healthy, or with one fault for the next requests."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

LATE_MS = (36, 39, 40, 41, 44)  # about the client's time-out
_LINGER_OFF = struct.pack("ii", 1, 0)  # close sends RST


def answer(number: str) -> bytes:
    return b'{"data":{"similarity":91.5,"session_id":"%s"},"code":0,"message":"OK"}' % number.encode()


FOREIGN_ANSWER = answer("lie")


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


@dataclass
class Exchange:
    """One request and its connection."""

    number: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the client disconnects (raises ``ConnectionError``), or for ``timeout_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if await self.reader.read(1) == b"":
                    raise ConnectionError

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self.writer.transport.abort()
        raise ConnectionError


async def _silent(exchange: Exchange) -> None:
    await exchange.wait()


async def _late(exchange: Exchange) -> None:
    await exchange.wait(LATE_MS[int(exchange.number or 0) % len(LATE_MS)] / 1e3)
    await exchange.send(http(answer(exchange.number)))


async def _byte_by_byte(exchange: Exchange) -> None:
    for byte in http(answer(exchange.number)):
        await exchange.send(bytes([byte]))
        await exchange.wait(0.005)


async def _cut(exchange: Exchange) -> None:
    await exchange.send(http(FOREIGN_ANSWER)[:-10])
    raise ConnectionError


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_midway(exchange: Exchange) -> None:
    await exchange.send(http(FOREIGN_ANSWER)[:-10])
    exchange.reset()


async def _endless(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await exchange.send(b"1000\r\n" + b" " * 4_096 + b"\r\n")


async def _endless_headers(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-More: " + b"x" * 1_000 + b"\r\n")


async def _too_long(exchange: Exchange) -> None:
    """Content-Length is larger than the body; the connection stays open."""
    await exchange.send(http(FOREIGN_ANSWER, length=len(FOREIGN_ANSWER) + 100))
    await exchange.wait()


async def _too_short(exchange: Exchange) -> None:
    """Content-Length is smaller than the body: the rest looks like an answer to the next request."""
    await exchange.send(http(FOREIGN_ANSWER[:-20], length=len(FOREIGN_ANSWER) - 20) + http(FOREIGN_ANSWER))


async def _chunked(exchange: Exchange) -> None:
    """The correct answer in chunks, and an answer without a request."""
    chunks = (
        b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (answer(exchange.number),)) + b"0\r\n\r\n"
    )
    await exchange.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + http(FOREIGN_ANSWER)
    )


async def _two_answers(exchange: Exchange) -> None:
    """The correct answer, and an answer without a request."""
    await exchange.send(http(answer(exchange.number)) + http(FOREIGN_ANSWER))


def _sends(raw: bytes) -> Callable[[Exchange], Awaitable[None]]:
    async def play(exchange: Exchange) -> None:
        await exchange.send(raw)

    return play


BEHAVIOURS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "silent": _silent,
    "late": _late,
    "late again": _late,  # the most critical case: twice as often
    "drip": _byte_by_byte,
    "cut": _cut,
    "reset": _reset,
    "reset midway": _reset_midway,
    "endless": _endless,
    "endless headers": _endless_headers,
    "announces too much": _too_long,
    "announces too little": _too_short,
    "two answers": _two_answers,
    "two answers, the first in chunks": _chunked,
    "bad gateway": _sends(http(b"<html>Bad Gateway</html>", "502 Bad Gateway")),
    "truncated": _sends(http(FOREIGN_ANSWER[:-9])),
    "no number": _sends(http(FOREIGN_ANSWER.replace(b"91.5", b"NaN"))),
    "text for a number": _sends(http(FOREIGN_ANSWER.replace(b"91.5", b'"91.5"'))),
    "no http": _sends(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
}
HANGS_UP = "hangs up"  # before the request, or before the end of the TLS handshake
FAULTS = (*BEHAVIOURS, HANGS_UP)


@dataclass
class FaultyApi:
    """``fault``: a key of ``FAULTS``, or None while healthy."""

    port: int = 0
    fault: str | None = None
    open: int = 0  # connections
    arrived: int = 0  # complete POST requests
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            if self.fault == HANGS_UP:
                return
            while True:
                method, exchange = await self._read(reader, writer)
                fault = self.fault
                if fault is None or fault == HANGS_UP:
                    await exchange.send(http(answer(exchange.number)))
                elif method == "OPTIONS" and fault != "silent":
                    await exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n")
                else:
                    await BEHAVIOURS[fault](exchange)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()  # a client that does not read must not keep the connection open

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, Exchange]:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
        body = await reader.readexactly(size)
        method = head.split(b" ", 1)[0].decode()
        self.arrived += method == "POST"
        number = re.search(rb"<number (\d+)>", body)
        return method, Exchange(number[1].decode() if number else "0", reader, writer)


@contextlib.asynccontextmanager
async def faulty_api(tls: ssl.SSLContext | None) -> AsyncIterator[FaultyApi]:
    """A faulty API on a free loopback port."""
    api = FaultyApi()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        api.tasks.add(task)
        task.add_done_callback(api.tasks.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await api.serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        server.close()
        for task in list(api.tasks):
            task.cancel()
        await asyncio.gather(*api.tasks, return_exceptions=True)
        await server.wait_closed()
