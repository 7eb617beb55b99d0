"""Downloads for a client do not reach the internal network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.service.download import Downloader, is_public
from agent.service.resolver import DOMAIN_LOOKUPS_MAX, LOOKUPS_MAX
from tests.compare.servers import Play, ReceivedRequest, endpoint, http, replies
from tests.compare.test_cancelled_exchanges import Silence, sockets, until_sockets_are_at_most

PICTURE = b"\xff\xd8\xff\xe0 a picture"


def downloader(*private_hosts: str, timeout_ms: int = 2_000, max_bytes: int = 4_000) -> Downloader:
    return Downloader(private_hosts=private_hosts, timeout_ms=timeout_ms, max_bytes=max_bytes)


async def code_of(url: str, made: Downloader) -> int:
    with pytest.raises(ApiFailure) as caught:
        await made.fetch(url)
    return caught.value.api_code


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # carrier-grade NAT
        "169.254.169.254",  # metadata
        "100.100.100.200",  # metadata elsewhere
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2001:0:7f00:1::",  # Teredo
        "2001:db8::1",
        "::127.0.0.1",
        "64:ff9b:1::a00:1",
        "::ffff:0:7f00:1",  # translated form of 127.0.0.1
        "::ffff:0:a9fe:a9fe",
        "fec0::1",  # site-local
        "feff::1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
    ],
)
def test_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_no_form_of_an_internal_address_is_public(address: ipaddress.IPv4Address) -> None:
    assert not is_public(address)
    assert not is_public(ipaddress.IPv6Address(f"::ffff:{address}"))
    assert not is_public(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]"],
)
async def test_loopback_in_any_spelling_is_refused(host: str) -> None:
    async with endpoint(replies(http(PICTURE))) as server:
        assert await code_of(f"http://{host}:{server.port}/x", downloader()) in (-1308, -1505, -1507)
        assert server.connections == 0


async def test_allow_listed_host_may_be_private() -> None:
    async with endpoint(replies(http(PICTURE))) as server:
        url = f"http://localhost:{server.port}/x?y=1"
        assert await downloader("LOCALHOST").fetch(url) == PICTURE
    (received,) = server.posts
    assert (received.method, received.target) == ("GET", "/x?y=1")
    assert received.headers["host"] == f"localhost:{server.port}"
    assert "authorization" not in received.headers and "cookie" not in received.headers


def redirect(location: str) -> Play:
    return replies(http(b"", "302 Found", f"Location: {location}\r\n"))


async def test_redirect_is_checked_like_the_first_url() -> None:
    async with endpoint(replies(http(b"internal secret"))) as inner:
        for location in (f"http://127.0.0.1:{inner.port}/", f"//127.0.0.1:{inner.port}/"):
            async with endpoint(redirect(location)) as server:
                url = f"http://localhost:{server.port}/x"
                assert await code_of(url, downloader("localhost")) == -1308
        assert inner.connections == 0


async def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    for hops, is_followed in ((3, True), (4, False)):
        async with endpoint(*[redirect("/on")] * hops, replies(http(PICTURE))) as server:
            fetching = downloader("localhost").fetch(f"http://localhost:{server.port}/x")
            if is_followed:
                assert await fetching == PICTURE
            else:
                with pytest.raises(ApiFailure) as caught:
                    await fetching
                assert caught.value.api_code == -1308


async def test_redirect_to_a_file_url_is_refused() -> None:
    async with endpoint(redirect("file:///etc/passwd")) as server:
        assert await code_of(f"http://localhost:{server.port}/x", downloader("localhost")) == -1505


async def test_dns_rebinding_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is public at the check and internal later; the connection goes to the checked address."""
    answers = [["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]]
    resolved: list[Any] = []

    def resolve(host: str, port: int, *_: object) -> list[Any]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in answers.pop(0)]

    connected: list[object] = []

    async def connect(_: object, __: object, host: str, *___: object, **____: object) -> None:
        connected.append(host)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(type(asyncio.get_running_loop()), "create_connection", connect)
    assert await code_of("http://changing.example/x", downloader()) == -1507
    assert resolved == ["changing.example"]
    assert connected == ["8.8.8.8"]


async def test_one_internal_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolve(host: str, port: int, *_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert await code_of("http://mixed.example/x", downloader()) == -1308


async def silent(_: ReceivedRequest, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def cut(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.write(http(PICTURE)[:-3])
    await writer.drain()
    writer.close()
    raise ConnectionError


def endless(start: bytes, piece: bytes) -> Play:
    """A server that never ends its answer, and sends as fast as its client reads."""

    async def play(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(piece)
            await writer.drain()

    return play


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "script",
    [
        endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 500),
        endless(CHUNKED, b"1\r\nx\r\n" * 500),
    ],
    ids=["interim answers", "header", "chunks"],
)
async def test_answer_in_endless_small_pieces_ends_before_its_timeout(script: Play) -> None:
    """The parser of such an answer leaves no time for other requests in the event loop."""
    async with endpoint(script) as server:
        made = downloader("localhost", timeout_ms=60_000, max_bytes=6_000_000)
        assert await code_of(f"http://localhost:{server.port}/x", made) == -1403


@pytest.mark.parametrize("fields", [1, 30_000])
async def test_answer_with_a_trailer_is_refused(fields: int) -> None:
    """The parser reads all fields of a trailer at once: 100 ms, without any other work in the event loop."""
    script = replies(CHUNKED + b"1\r\nx\r\n0\r\n" + b"a:\n" * fields + b"\n")
    async with endpoint(script) as server:
        assert await code_of(f"http://localhost:{server.port}/x", downloader("localhost")) == -1403


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (silent, -1506),
        (replies(http(b"", "404 Not Found")), -1403),
        (replies(http(b"", "500 Oops")), -1403),
        (replies(http(PICTURE, headers="Content-Encoding: gzip\r\n")), -1403),
        (replies(b"no http\r\n\r\n"), -1403),
        (cut, -1403),
        (replies(http(b"x" * 5_000)), -1408),
    ],
)
async def test_each_failure_has_its_code(script: Play, code: int) -> None:
    async with endpoint(script) as server:
        url = f"http://localhost:{server.port}/x"
        timeout_ms = 500 if script is silent else 20_000
        assert await code_of(url, downloader("localhost", timeout_ms=timeout_ms)) == code


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "http://",
        "ftp://a.example/",
        "file:///etc/passwd",
        "http://u:p@a.example/",
        "http://a:b/",
        "http://localhost:65536/x",
        "http://localhost:0/x",
        "http://localhost:99999/x",
        "http://xn--a/",
        "http://xn--/",
        "http://xn--a.example/",
        "http://\u00ad/",
        "http://[::1/",
        "http://[::g]/",
        "//a",
    ],
)
async def test_malformed_url_is_refused(url: str) -> None:
    assert await code_of(url, downloader()) == -1505


@pytest.mark.parametrize(
    "location",
    ["http://localhost:65536/", "http://xn--a/", "http://a:b/", "//xn--a/", "http://[::g]/", "ftp://a/"],
)
async def test_redirect_to_a_malformed_url_is_refused(location: str) -> None:
    async with endpoint(redirect(location)) as server:
        assert await code_of(f"http://localhost:{server.port}/x", downloader("localhost")) == -1505


class HangingLookups:
    """Names of ``*.hang.example`` and ``*.N.example`` get no answer until ``end``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released = threading.Event()
        self.started = 0
        self._lookup = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._hang)

    def _hang(self, host: str, *rest: Any, **more: Any) -> Any:
        if not host.endswith(".example"):
            return self._lookup(host, *rest, **more)
        self.started += 1
        self.released.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")


async def test_names_without_an_answer_do_not_stop_other_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = HangingLookups(monkeypatch)
    short_limit = downloader("localhost", timeout_ms=300)
    try:
        urls = [f"http://n{number}.hang.example/x" for number in range(40)]
        codes = await asyncio.gather(*(code_of(url, short_limit) for url in urls))
        assert set(codes) == {-1506}
        assert lookups.started == DOMAIN_LOOKUPS_MAX
        assert set(await asyncio.gather(*(code_of(urls[0], short_limit) for _ in range(20)))) == {-1506}
        assert lookups.started == DOMAIN_LOOKUPS_MAX, "one lookup serves all requests for a name"
        with pytest.raises(ApiFailure) as caught:
            await short_limit.fetch("http://one-more.hang.example/x")
        assert caught.value.cause == "resolver_slow"
        async with endpoint(replies(http(PICTURE))) as server:
            assert await short_limit.fetch(f"http://localhost:{server.port}/x") == PICTURE
    finally:
        lookups.released.set()


async def test_lookups_have_a_limit_and_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = HangingLookups(monkeypatch)
    short_limit = downloader(timeout_ms=100)
    try:
        urls = [f"http://a.n{number}.example/x" for number in range(LOOKUPS_MAX + 5)]
        codes = await asyncio.gather(*(code_of(url, short_limit) for url in urls))
        assert codes == [-1506] * LOOKUPS_MAX + [15] * 5
        with pytest.raises(ApiFailure) as caught:
            await short_limit.fetch("http://one.more.example/x")
        assert caught.value.cause == "resolver_full"
        assert lookups.started == LOOKUPS_MAX
    finally:
        lookups.released.set()


async def test_closed_port_has_its_code() -> None:
    assert await code_of("http://localhost:1/x", downloader("localhost")) == -1507


class Nowhere(Downloader):
    """A downloader without DNS requests."""

    async def _resolve(self, url: httpx.URL) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        assert url.scheme in ("http", "https") and url.host
        raise ApiFailure(-1507)


@given(st.text(max_size=60).map(lambda text: "http://" + text) | st.text(max_size=60))
def test_any_text_has_a_code(url: str) -> None:
    nowhere = Nowhere(private_hosts=(), timeout_ms=1_000, max_bytes=10)
    assert asyncio.run(code_of(url, nowhere)) in (-1505, -1507)


async def test_timed_out_or_cancelled_downloads_leak_no_connection() -> None:
    silence = Silence(http(PICTURE))
    async with endpoint(silence) as server:
        url = f"http://localhost:{server.port}/p.jpg"
        long_limit = downloader("localhost", timeout_ms=60_000)
        short_limit = downloader("localhost", timeout_ms=60)
        before = sockets()
        for _ in range(12):
            assert await code_of(url, short_limit) == -1506
        for number in range(12):
            task = asyncio.create_task(long_limit.fetch(url))
            for _ in range(number):
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        silence.healthy = True
        assert await long_limit.fetch(url) == PICTURE
        silence.released.set()
        await until_sockets_are_at_most(before)
