"""An HTTP server on loopback for the images that a local endpoint downloads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from agent.kits.compare.images import Pictures

_HEAD_TIMEOUT_S = 10


@contextlib.asynccontextmanager
async def served(pictures: Pictures) -> AsyncIterator[str]:
    """Serve ``/shot`` and ``/reference`` on a free loopback port; yields the url without a final slash."""
    files = {b"/shot": pictures.shot, b"/reference": pictures.reference}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            image = files.get(head.split(b" ")[1])
            status, body = (b"404 Not Found", b"") if image is None else (b"200 OK", image)
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n" % (status, len(body)))
            writer.write(b"Content-Type: image/jpeg\r\nConnection: close\r\n\r\n" + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
