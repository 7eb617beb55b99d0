"""Downloads of urlA and urlB without access to the internal network (SSRF).

A name is resolved once, every address is checked, and the connection goes to a checked address. A second,
different answer of the name server (DNS rebinding) has no effect. Each redirect is checked in the same way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from functools import partial

import httpx

from agent.compare.contract import ApiFailure
from agent.compare.exchange import ExchangeConnection, Exchanges

_REFUSED, _FAILED, _TOO_LARGE, _BAD_URL, _TIMED_OUT, _NO_SERVER = -1308, -1403, -1408, -1505, -1506, -1507
_REDIRECTS_MAX = 3
_ADDRESSES_MAX = 3  # tried one after the other when connecting fails
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Ranges that Python 3.11 calls global, although they are internal or contain an internal address.
_INNER_V4 = ipaddress.IPv4Network("192.0.0.0/24")  # protocol assignments; metadata service of some clouds
_INNER_V6 = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")))

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Downloader:
    """Downloads pictures over http and https.

    Args:
        private_hosts: host names that may resolve to private addresses; all others must be public.
    """

    def __init__(self, *, private_hosts: tuple[str, ...], timeout_ms: int, max_bytes: int) -> None:
        self._private_hosts = frozenset(host.lower() for host in private_hosts)
        self._timeout_s = timeout_ms / 1e3
        self._max_bytes = max_bytes
        self._trust: ssl.SSLContext | None = None  # loaded on first use: takes 20 ms
        # No connection is reused: a connection belongs to an address and could serve the wrong name.
        self._exchanges = {
            scheme: Exchanges(partial(self._client, scheme), keeps_idle=False) for scheme in _DEFAULT_PORTS
        }

    async def fetch(self, url: str) -> bytearray:
        """Download the bytes of a url.

        Raises:
            ApiFailure: -1505 no usable http(s) url; -1308 an address that is not public, or too many
                redirects; -1507 unknown host or no connection; -1506 timeout; -1403 not HTTP 200, or
                truncated; -1408 too large.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(_parse(url))
        except TimeoutError as error:
            raise ApiFailure(_TIMED_OUT) from error

    async def _follow(self, url: httpx.URL) -> bytearray:
        for _ in range(1 + _REDIRECTS_MAX):
            answer = await self._get(url, await self._resolve(url))
            if isinstance(answer, bytearray):
                return answer
            url = _parse(str(url.join(answer.headers["location"])))
        raise ApiFailure(_REFUSED, "too many redirects")

    async def _resolve(self, url: httpx.URL) -> list[_Address]:
        try:
            rows = await asyncio.get_running_loop().getaddrinfo(
                url.host, _port(url), type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except (OSError, UnicodeError) as error:
            raise ApiFailure(_NO_SERVER, "no such host") from error
        addresses = list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))
        if url.host.lower() not in self._private_hosts and not all(map(is_public, addresses)):
            raise ApiFailure(_REFUSED, "the address is not public")
        return addresses[:_ADDRESSES_MAX]

    async def _get(self, url: httpx.URL, addresses: list[_Address]) -> bytearray | httpx.Response:
        """The body, or the response of a redirect."""
        for address in addresses:
            try:
                return await self._get_from(url, address)
            except httpx.ConnectError:
                continue
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                raise ApiFailure(_FAILED, type(error).__name__) from error
        raise ApiFailure(_NO_SERVER, "no connection")

    async def _get_from(self, url: httpx.URL, address: _Address) -> bytearray | httpx.Response:
        return await self._exchanges[url.scheme].run(
            lambda connection: self._exchange(connection, url, address), self._timeout_s
        )

    async def _exchange(
        self, connection: ExchangeConnection, url: httpx.URL, address: _Address
    ) -> bytearray | httpx.Response:
        request = connection.http.build_request(
            "GET",
            url.copy_with(host=str(address)),
            headers={"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
            # the certificate is checked against the name
            extensions={"sni_hostname": url.host, "trace": connection.trace},
        )
        response = await connection.http.send(request, stream=True)
        try:
            return await self._read(response)
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response) -> bytearray | httpx.Response:
        if response.has_redirect_location:
            return response
        encoding = response.headers.get("content-encoding", "identity").lower()
        if response.status_code != httpx.codes.OK or encoding != "identity":
            raise ApiFailure(_FAILED, f"HTTP {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise ApiFailure(_TOO_LARGE)
        return body

    def _client(self, scheme: str) -> httpx.AsyncClient:
        if scheme == "http":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = self._trust = self._trust or httpx.create_ssl_context(trust_env=False)
        return httpx.AsyncClient(
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - fetch() has a total one
        )


def is_public(address: _Address) -> bool:
    """Whether this is an address of the public internet.

    False for private, loopback, link-local, metadata, multicast and shared ranges, and for an IPv6 form of
    such an IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None:
            return False
        if any(address in network for network in _INNER_V6):
            return False
    elif address in _INNER_V4:
        return False
    return address.is_global and not address.is_multicast


def _parse(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        url.netloc.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ApiFailure(_BAD_URL) from error
    if url.scheme not in _DEFAULT_PORTS or not url.host or url.userinfo:
        raise ApiFailure(_BAD_URL)
    return url


def _port(url: httpx.URL) -> int:
    return url.port or _DEFAULT_PORTS[url.scheme]
