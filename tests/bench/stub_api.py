"""A compare API with a known response time and the constant similarity 93, to measure everything else.

A request without a picture is a check by the agent itself (``CompareClient.check``). The API refuses it free
of charge, so it is no call.
"""

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
NOT_A_PICTURE = json.dumps({"data": {"session_id": "bench"}, "code": -1102, "message": "no picture"}).encode()
JPEG_START = b"\xff\xd8\xff"


@dataclass
class StubApi:
    """HTTP/1.1, keep-alive. ``calls`` holds (arrival of the last body byte in perf_counter s, body bytes)."""

    response_s: float = 0.0
    calls: list[tuple[float, int]] = field(default_factory=list)
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
                body = await reader.readexactly(size)
                self.bytes_in += len(head) + size
                is_check = head.startswith(b"POST") and JPEG_START not in body
                if head.startswith(b"POST") and not is_check:
                    self.calls.append((time.perf_counter(), size))
                    await asyncio.sleep(self.response_s)
                answer = NOT_A_PICTURE if is_check else ANSWER
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % len(answer)
                )
                writer.write(answer)
                await writer.drain()
        writer.close()
