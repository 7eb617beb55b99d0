"""A TCP proxy on loopback in front of a broker; ``cut`` aborts every connection.

An aborted connection looks to the broker like a power cut, a pulled cable or a killed process: no DISCONNECT.
"""

import asyncio
import contextlib

CHUNK_BYTES = 65_536


class TcpProxy:
    """``start``, connect to ``port``, ``cut`` at any time, ``stop``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection_made = asyncio.Event()
        self.port = 0
        self.connections = 0  # total since start
        self.refuse_connections = False  # new connections are aborted
        self.drop_from_broker = False  # data from the broker is discarded

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0: a free port. Raises ``OSError`` when the port is in use."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Safe to call twice."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Abort every connection in both directions."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def wait_for_connection(self, after: int) -> None:
        """Wait until ``connections`` is greater than ``after``."""
        while self.connections <= after:
            self._connection_made.clear()
            await self._connection_made.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuse_connections:
            writer.transport.abort()
            return
        try:
            broker_reader, broker_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()  # the client sees the same as without a broker
            return
        self.connections += 1
        self._connection_made.set()
        ends = {writer, broker_writer}
        self._writers |= ends
        up = asyncio.create_task(self._forward(reader, broker_writer, from_broker=False))
        down = asyncio.create_task(self._forward(broker_reader, writer, from_broker=True))
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        self._writers -= ends
        await asyncio.gather(up, down, return_exceptions=True)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_broker: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(CHUNK_BYTES):
                if not (from_broker and self.drop_from_broker):
                    writer.write(chunk)
                    await writer.drain()
