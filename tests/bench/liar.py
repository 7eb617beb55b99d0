"""The API of ``lying_api``: healthy, or with the one fault that the next requests meet."""

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


LIE = answer("lie")


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


@dataclass
class Visit:
    """One request, and the connection it came over."""

    number: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until the client goes, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if await self.reader.read(1) == b"":
                    raise ConnectionError

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self.writer.transport.abort()
        raise ConnectionError


async def _silent(visit: Visit) -> None:
    await visit.wait()


async def _late(visit: Visit) -> None:
    await visit.wait(LATE_MS[int(visit.number or 0) % len(LATE_MS)] / 1e3)
    await visit.send(http(answer(visit.number)))


async def _drip(visit: Visit) -> None:
    for byte in http(answer(visit.number)):
        await visit.send(bytes([byte]))
        await visit.wait(0.005)


async def _cut(visit: Visit) -> None:
    await visit.send(http(LIE)[:-10])
    raise ConnectionError


async def _reset(visit: Visit) -> None:
    visit.reset()


async def _reset_midway(visit: Visit) -> None:
    await visit.send(http(LIE)[:-10])
    visit.reset()


async def _endless(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await visit.send(b"1000\r\n" + b" " * 4_096 + b"\r\n")


async def _endless_headers(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.send(b"X-More: " + b"x" * 1_000 + b"\r\n")


async def _too_long(visit: Visit) -> None:
    """Announces more than it sends, and keeps the connection open."""
    await visit.send(http(LIE, length=len(LIE) + 100))
    await visit.wait()


async def _too_short(visit: Visit) -> None:
    """Announces less than it sends: the rest looks like an answer to the next request."""
    await visit.send(http(LIE[:-20], length=len(LIE) - 20) + http(LIE))


async def _chunked(visit: Visit) -> None:
    """The right answer in chunks, and another that no request asked for."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (answer(visit.number),)) + b"0\r\n\r\n"
    await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + http(LIE))


async def _two_answers(visit: Visit) -> None:
    """The right answer, and another that no request asked for."""
    await visit.send(http(answer(visit.number)) + http(LIE))


def _says(raw: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def play(visit: Visit) -> None:
        await visit.send(raw)

    return play


PLAYS: dict[str, Callable[[Visit], Awaitable[None]]] = {
    "silent": _silent,
    "late": _late,
    "late again": _late,  # the most delicate moment: twice as often
    "drip": _drip,
    "cut": _cut,
    "reset": _reset,
    "reset midway": _reset_midway,
    "endless": _endless,
    "endless headers": _endless_headers,
    "announces too much": _too_long,
    "announces too little": _too_short,
    "two answers": _two_answers,
    "two answers, the first in chunks": _chunked,
    "bad gateway": _says(http(b"<html>Bad Gateway</html>", "502 Bad Gateway")),
    "truncated": _says(http(LIE[:-9])),
    "no number": _says(http(LIE.replace(b"91.5", b"NaN"))),
    "text for a number": _says(http(LIE.replace(b"91.5", b'"91.5"'))),
    "no http": _says(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
}
HANGS_UP = "hangs up"  # at once, before the request, or before the TLS handshake has ended
FAULTS = (*PLAYS, HANGS_UP)


@dataclass
class Liar:
    """``fault``: a key of ``FAULTS``, or None while healthy."""

    port: int = 0
    fault: str | None = None
    open: int = 0  # connections
    arrived: int = 0  # whole POST requests
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            if self.fault == HANGS_UP:
                return
            while True:
                method, visit = await self._read(reader, writer)
                fault = self.fault
                if fault is None or fault == HANGS_UP:
                    await visit.send(http(answer(visit.number)))
                elif method == "OPTIONS" and fault != "silent":
                    await visit.send(b"HTTP/1.1 204 No Content\r\n\r\n")
                else:
                    await PLAYS[fault](visit)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()  # a peer that does not read must not hold it

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, Visit]:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
        body = await reader.readexactly(size)
        method = head.split(b" ", 1)[0].decode()
        self.arrived += method == "POST"
        found = re.search(rb"<number (\d+)>", body)
        return method, Visit(found[1].decode() if found else "0", reader, writer)


@contextlib.asynccontextmanager
async def liar(tls: ssl.SSLContext | None) -> AsyncIterator[Liar]:
    """On a free loopback port."""
    made = Liar()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        made.tasks.add(task)
        task.add_done_callback(made.tasks.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await made.serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(made.tasks):
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        await server.wait_closed()
