"""A compare API with a known response time and the constant similarity 93, to measure everything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from dataclasses import dataclass, field

ANSWER = json.dumps(
    {"data": {"similarity": 93.0, "session_id": "bench"}, "code": 0, "message": "OK"}
).encode()


_CHECK_MAX_BYTES = 4_096  # a signed check of the API has no picture; the smallest crop has 8 KiB


@dataclass
class StubApi:
    """HTTP/1.1, keep-alive.

    Attributes:
        calls: (arrival of the last body byte in perf_counter s, body bytes) of each API call with pictures.
        checks: number of requests without a picture: the agent's check of the API, which is free of charge.
    """

    response_s: float = 0.0
    calls: list[tuple[float, int]] = field(default_factory=list)
    checks: int = 0
    connections: int = 0
    bytes_in: int = 0
    port: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> StubApi:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/face/compare"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
                await reader.readexactly(size)
                self.bytes_in += len(head) + size
                if head.startswith(b"POST"):
                    if size > _CHECK_MAX_BYTES:
                        self.calls.append((time.perf_counter(), size))
                    else:
                        self.checks += 1
                    await asyncio.sleep(self.response_s)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % len(ANSWER)
                )
                writer.write(ANSWER)
                await writer.drain()
        writer.close()
