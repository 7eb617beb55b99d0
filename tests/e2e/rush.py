"""Sixty clients of one address that request everything without end: ``python -m tests.e2e.rush PORT``.

A separate process, because the compare service of a test runs in the process of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

CLIENTS = 60
LONGEST_S = 300.0
REQUESTS = b"GET /preview.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20


async def client(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            writer.write(REQUESTS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await reader.read(4_096)
            writer.transport.abort()


async def rush(port: int) -> None:
    """Until the test ends this process; a test that was killed cannot."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_S):
            await asyncio.gather(*(client(port) for _ in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(rush(int(sys.argv[1])))
