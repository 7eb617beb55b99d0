"""An exchange that is timed out, cancelled, or both leaks no connection, plain and over TLS.

The trap: httpcore closes a connection with awaits that a second ``cancel`` interrupts. The connection then
stays "active" in its pool, and a pool of two never provides a connection again.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from agent.compare import exchange
from agent.compare.circuit_breaker import FAULTS_TO_OPEN
from agent.compare.exchange import ExchangeConnection, Exchanges
from agent.compare.http_channel import HttpChannel, Reply
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Reference
from agent.errors import CompareError, CompareSlow, CompareUnreachable
from tests.compare.servers import SUCCESS, Endpoint, Play, ReceivedRequest, endpoint, http, replies
from tests.compare.test_client import CROP, JPEG, client
from tests.fakes import RealClock
from tests.service.certificates import self_signed

WAIT_S = 20.0
TIMES = 12


@dataclass
class Silence:
    """A script without an answer until ``healthy``; the connections stay open until ``released``."""

    answer: bytes
    healthy: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, received: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        await (replies(self.answer)(received, writer) if self.healthy else self.released.wait())


async def cut_midway(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(http(SUCCESS)[:-10])
    await writer.drain()
    writer.close()
    raise ConnectionError


@dataclass
class Line:
    """A channel to a scripted server."""

    server: Endpoint
    channel: HttpChannel

    async def send(self, timeout_ms: int) -> Reply:
        request = self.channel.http.build_request("POST", self.server.url(self.scheme), content=b"x" * 64)
        return await self.channel.send(request, timeout_ms)

    scheme: str = "http"


@contextlib.asynccontextmanager
async def line(folder: Path, scheme: str, *scripts: Play) -> AsyncIterator[Line]:
    cert, key = self_signed(folder)
    context = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
    async with endpoint(*scripts, tls=context) as server:
        channel = HttpChannel(server.url(scheme), cert, RealClock())
        try:
            yield Line(server, channel, scheme)
        finally:
            await channel.close()


def sockets() -> int:
    """Open sockets of this process."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(path.readlink()).startswith("socket:")
    return found


async def until_sockets_are_at_most(most: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while sockets() > most:  # noqa: ASYNC110 - the kernel announces no close
            await asyncio.sleep(0.01)


async def cancelled_after(line: Line, timeout_ms: int, delay_ms: int) -> None:
    """Cancel an exchange ``delay_ms`` after its timeout."""
    task = asyncio.create_task(line.send(timeout_ms))
    await asyncio.wait((task,), timeout=(timeout_ms + delay_ms) / 1e3)
    task.cancel()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("delay_ms", [-1, 0, 1, 2, 5])
async def test_exchange_timed_out_and_cancelled_leaves_no_connection(
    tmp_path: Path, scheme: str, delay_ms: int
) -> None:
    silence = Silence(http(SUCCESS))
    async with line(tmp_path, scheme, silence) as far:
        before = sockets()
        for _ in range(TIMES):
            await cancelled_after(far, 200, delay_ms)
        silence.healthy = True
        assert (await far.send(30_000)).status == 200
        await far.channel.close()
        silence.released.set()
        await until_sockets_are_at_most(before)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("turns", range(8))
async def test_exchange_cancelled_while_its_connection_closes_leaves_no_connection(
    tmp_path: Path, scheme: str, turns: int
) -> None:
    """The server truncates the answer; ``cancel`` follows after ``turns`` iterations of the event loop."""
    async with line(tmp_path, scheme, *[cut_midway] * TIMES, replies(http(SUCCESS))) as far:
        before = sockets()
        for number in range(TIMES):
            task = asyncio.create_task(far.send(30_000))
            async with asyncio.timeout(WAIT_S):
                while len(far.server.posts) <= number:  # noqa: ASYNC110 - counts iterations of the loop
                    await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(task, return_exceptions=True)
        assert (await far.send(30_000)).status == 200
        await far.channel.close()
        await until_sockets_are_at_most(before)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_server_that_accepts_and_stays_silent_keeps_no_connection(tmp_path: Path, scheme: str) -> None:
    """Over TLS the handshake never ends."""
    cert, _ = self_signed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://localhost:{listener.getsockname()[1]}/"
        channel = HttpChannel(url, cert, RealClock())
        before = sockets()
        for _ in range(TIMES):
            with pytest.raises(CompareUnreachable):
                await channel.send(channel.http.build_request("POST", url, content=b"x"), 30)
        await channel.close()
        await until_sockets_are_at_most(before)


async def test_photo_download_cancelled_twice_leaves_no_connection(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff\xe0 the enrolled photo"
    silence = Silence(http(jpeg))
    async with endpoint(silence) as server:
        host = f"localhost:{server.port}"
        store = ReferenceLoader(CompareConfig(reference_hosts=(host,), reference_timeout_ms=60_000), "demo")
        photo = Reference(url=f"http://{host}/p.jpg")
        before = sockets()
        for number in range(TIMES):
            task = asyncio.create_task(store.resolve(photo))
            async with asyncio.timeout(WAIT_S):
                while len(server.posts) <= number:  # noqa: ASYNC110 - counts iterations of the loop
                    await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        silence.healthy = True
        assert await store.resolve(photo) == jpeg
        await store.close()
        silence.released.set()
        await until_sockets_are_at_most(before)


async def test_full_pool_is_logged_and_replaced_and_the_request_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier exchange left the only connection of an idle client in use."""
    async with line(tmp_path, "http", replies(http(SUCCESS))) as far:
        leaked: list[object] = []

        async def leak(connection: ExchangeConnection) -> None:
            leaked.append(connection)
            request = connection.http.build_request("POST", far.server.url(), content=b"x")
            request.extensions["trace"] = connection.trace
            leaked.append(await connection.http.send(request, stream=True))  # never closed

        before = sockets()
        await far.channel._exchanges.run(leak, 5.0)
        sent: list[str] = []
        request = far.channel.http.build_request("POST", far.server.url(), content=b"x")
        reply = await far.channel.send(request, 30_000, lambda: sent.append("sent"))
        assert (reply.status, sent) == (200, ["sent"])
        assert [each.message for each in caplog.records if each.levelname == "ERROR"] == [
            "connection_pool_full"
        ]
        await far.channel.close()
        await until_sockets_are_at_most(before)


async def test_on_sent_is_called_only_when_the_body_is_sent(tmp_path: Path) -> None:
    sent: list[str] = []
    silence = Silence(b"")
    async with line(tmp_path, "http", silence) as far:
        request = far.channel.http.build_request("POST", far.server.url(), content=b"x")
        with pytest.raises(CompareSlow):
            await far.channel.send(request, 2_000, lambda: sent.append("slow"))
        silence.released.set()
    assert sent == ["slow"]
    for url in ("http://127.0.0.1:9/", "http://no-such-host.invalid/"):
        channel = HttpChannel(url, None, RealClock())
        with pytest.raises(CompareUnreachable) as caught:
            request = channel.http.build_request("POST", url, content=b"x")
            await channel.send(request, 30_000, lambda: sent.append("refused"))
        assert not isinstance(caught.value, CompareSlow)
        await channel.close()
    assert sent == ["slow"]


async def test_next_verification_is_served_after_an_open_circuit_breaker() -> None:
    """A retry of the same verification is refused without a call."""
    scripts = (*[cut_midway] * (FAULTS_TO_OPEN + 1), replies(http(SUCCESS)))
    async with endpoint(*scripts) as server, client(server.url()) as api:
        for _ in range(FAULTS_TO_OPEN):
            with pytest.raises(CompareUnreachable):
                await api.call(JPEG, CROP, 1, 30_000, lambda: None)
        sent: list[int] = []
        for number in (1, 2):
            with pytest.raises(CompareError):
                await api.call(JPEG, CROP, number, 30_000, lambda: sent.append(number))  # noqa: B023
        assert sent == [1]
        assert (await api.call(JPEG, CROP, 1, 30_000, lambda: None)).similarity == 91.5


async def test_connection_of_a_call_is_closed_at_each_end_of_the_call() -> None:
    """A similarity, an error, an answer that is cut off: no socket waits for the next call."""
    scripts = (replies(http(SUCCESS)), replies(http(b'{"code":-1101,"data":{"fail_flag":2}}')), cut_midway)
    async with endpoint(*scripts) as server, client(server.url()) as api:
        before = sockets()
        for _ in scripts:
            with contextlib.suppress(CompareError):
                await api.compare(JPEG, JPEG, timeout_ms=60_000)
            await until_sockets_are_at_most(before)
        assert server.connections == len(scripts)


class FakeSocket:
    def __init__(self) -> None:
        self.is_open = True

    def fileno(self) -> int:
        return 3 if self.is_open else -1


class FakeStream:
    """What httpcore's trace hands out; ``fails``: its close raises."""

    def __init__(self, *, fails: bool = False) -> None:
        self.socket, self._fails = FakeSocket(), fails

    def get_extra_info(self, _name: str) -> FakeSocket:
        return self.socket

    async def read(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        if self._fails:
            raise RuntimeError("close failed")
        self.socket.is_open = False


class RaisingClient(httpx.AsyncClient):
    async def aclose(self) -> None:
        raise RuntimeError("close failed")


class HangingClient(httpx.AsyncClient):
    async def aclose(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("made", [RaisingClient, HangingClient, httpx.AsyncClient])
async def test_a_close_that_fails_leaves_no_other_socket_open(
    made: type[httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_CLOSE_S", 0.05)
    tcp, tls = FakeStream(), FakeStream(fails=made is httpx.AsyncClient)

    async def broken(connection: ExchangeConnection) -> None:
        connection.register_stream(tcp)
        connection.register_stream(tls)
        raise ValueError

    exchanges = Exchanges(made)
    with pytest.raises(ValueError):
        await exchanges.run(broken, 5.0)
    await asyncio.wait_for(exchanges.close(), 60)
    assert not tcp.socket.is_open
