"""Sixty strangers of one address who want everything at once, for ever: ``python -m tests.e2e.rush PORT``.

A process of its own: the compare service of a test lives in the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

STRANGERS = 60
ASKED = b"GET /preview.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20


async def other_client(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(ASKED)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await reader.read(4_096)
            writer.transport.abort()


async def rush(port: int) -> None:
    await asyncio.gather(*(other_client(port) for _ in range(STRANGERS)))


if __name__ == "__main__":
    asyncio.run(rush(int(sys.argv[1])))
