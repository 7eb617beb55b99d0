"""Scripted brokers: limits, reason codes and cuts that mosquitto does not produce on demand."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

NOT_AUTHORISED = 0x87


def connack(reason: int = 0, properties: bytes = b"") -> bytes:
    """A CONNACK with this reason code; ``properties`` as on the wire, at most 120 bytes."""
    return bytes([0x20, 3 + len(properties), 0, reason, len(properties)]) + properties


def disconnect(reason: int) -> bytes:
    return bytes([0xE0, 2, reason, 0])


def puback(mid: int, reason: int = 0) -> bytes:
    return bytes([0x40, 4]) + mid.to_bytes(2, "big") + bytes([reason, 0])


@dataclass
class Script:
    """The answers of the broker, and counters of received packets.

    Attributes:
        on_publish: (topic, payload, message id) → the answer; empty: no answer; None: cut the connection.
    """

    connack: bytes = field(default_factory=connack)
    suback_reason: int = 1
    on_publish: Callable[[str, bytes, int], bytes | None] = lambda _topic, _payload, mid: puback(mid)
    connections: int = 0
    disconnects: int = 0
    filters: int = 0
    pinged: asyncio.Event = field(default_factory=asyncio.Event)
    published: list[tuple[str, int, int]] = field(default_factory=list)  # topic, bytes, QoS


@contextlib.asynccontextmanager
async def scripted(
    script: Script, port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve until the block ends, with TLS when there is a context. Yields the port."""
    served: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (answer := _answer(script, *await _packet(reader))) is not None:
                writer.write(answer)
                await writer.drain()
                if answer[:1] == b"\xe0" or (answer[:1] == b"\x20" and answer[3] >= 0x80):
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in served:
            writer.close()


def scripted_broker(suback_reason: int, port: int = 0) -> contextlib.AbstractAsyncContextManager[int]:
    """A broker with this SUBACK reason: an ACL file of mosquitto never refuses a subscription."""
    return scripted(Script(suback_reason=suback_reason), port)


def _answer(script: Script, kind: int, body: bytes) -> bytes | None:
    match kind >> 4:
        case 1:
            script.connections += 1
            return script.connack
        case 3:
            ends = 2 + int.from_bytes(body[:2], "big")
            topic, qos = body[2:ends].decode(), kind >> 1 & 3
            mid = int.from_bytes(body[ends : ends + 2], "big") if qos else 0
            payload = body[ends + (2 if qos else 0) :]
            script.published.append((topic, len(body), qos))
            return script.on_publish(topic, payload, mid) if qos else b""
        case 8:
            script.filters = _filters(body[2 + 1 + body[2] :])
            reasons = [script.suback_reason] * script.filters
            return bytes([0x90, 3 + script.filters, *body[:2], 0, *reasons])
        case 12:
            script.pinged.set()
            return bytes([0xD0, 0])
        case 14:
            script.disconnects += 1
            return b""
        case _:
            return b""


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    (kind,), size, shift = await reader.readexactly(1), 0, 0
    while True:  # the length: seven bits per byte
        (digit,) = await reader.readexactly(1)
        size |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return kind, await reader.readexactly(size)


def _filters(body: bytes) -> int:
    """Number of subscriptions; each is a length, a filter and a byte of options."""
    count = 0
    while body:
        body, count = body[2 + int.from_bytes(body[:2], "big") + 1 :], count + 1
    return count
