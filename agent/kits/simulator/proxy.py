"""A loopback port that passes everything on to a broker, until the connection is cut.

How a power cut, a pulled cable or a killed process looks to the broker: no goodbye.
"""

from __future__ import annotations

import asyncio
import contextlib

CHUNK_BYTES = 65_536


class TcpProxy:
    """``start``, connect to ``port``, ``cut`` whenever it suits, ``stop``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0  # so far
        self.shut = False  # takes no new connection
        self.deaf = False  # what the broker sends does not get through

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one. Raises ``OSError`` when the port is taken."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Safe to call twice."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Drop every connection at once, in both directions."""
        for writer in list(self._pairs):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.shut:
            writer.transport.abort()
            return
        try:
            broker_reader, broker_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()  # as if the broker itself had refused
            return
        self.connections += 1
        ends = {writer, broker_writer}
        self._pairs |= ends
        up = asyncio.create_task(self._pass_on(reader, broker_writer, from_broker=False))
        down = asyncio.create_task(self._pass_on(broker_reader, writer, from_broker=True))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        self._pairs -= ends
        await asyncio.gather(up, down, return_exceptions=True)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_broker: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(CHUNK_BYTES):
                if not (from_broker and self.deaf):
                    writer.write(chunk)
                    await writer.drain()
