"""Downloads of urlA and urlB without access to the internal network (SSRF).

A name is resolved once, every address is checked, and the connection goes to a checked address. A second,
different answer of the name server (DNS rebinding) has no effect. Each redirect is checked in the same way.
"""

import asyncio
import ipaddress
import ssl
from functools import partial
from pathlib import Path

import certifi
import httpx

from agent.compare.answer_body import SmallPieces
from agent.compare.contract import ApiFailure
from agent.compare.exchange import ExchangeConnection, Exchanges, client
from agent.compare.photo_url import parse_photo_url
from agent.config.tls_files import client_context
from agent.service.causes import Cause
from agent.service.resolver import Address, Resolver

_REFUSED, _FAILED, _TOO_LARGE, _BAD_URL, _TIMED_OUT, _NO_SERVER = -1308, -1403, -1408, -1505, -1506, -1507
_REDIRECTS_MAX = 3
_ADDRESSES_MAX = 3  # tried one after the other when connecting fails
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Ranges that Python 3.11 calls global, although they are internal or contain an internal address.
_INTERNAL_NETWORKS = [
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # the virtual host of a cloud: name server, agent, metadata
        "192.0.0.0/24",  # protocol assignments; metadata service of some clouds
        "::/96",
        "::ffff:0:0:0/96",  # an IPv4 address, translated (RFC 2765)
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "fec0::/10",  # site-local
    )
]


class Downloader:
    """Downloads pictures over http and https.

    Args:
        private_hosts: host names that may resolve to private addresses; all others must be public.
    """

    def __init__(self, *, private_hosts: tuple[str, ...], timeout_ms: int, max_bytes: int) -> None:
        self._private_hosts = frozenset(host.lower() for host in private_hosts)
        self._timeout_s = timeout_ms / 1e3
        self._resolver = Resolver()
        self._max_bytes = max_bytes
        self._trust: ssl.SSLContext | None = None  # loaded on first use: takes 20 ms
        self._exchanges = {scheme: Exchanges(partial(self._client, scheme)) for scheme in _DEFAULT_PORTS}

    async def fetch(self, url: str) -> bytearray:
        """Download the bytes of a url.

        Raises:
            ApiFailure: -1505 no usable http(s) url; -1308 an address that is not public, or too many
                redirects; -1507 unknown host or no connection; -1506 timeout; -1403 not HTTP 200, or
                truncated; -1408 too large.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow_redirects(_parse(url))
        except TimeoutError as error:
            raise ApiFailure(_TIMED_OUT, "too slow", cause=Cause.DOWNLOAD_SLOW) from error

    async def _follow_redirects(self, url: httpx.URL) -> bytearray:
        for _ in range(1 + _REDIRECTS_MAX):
            answer = await self._get_from(url, await self._resolve(url))
            if isinstance(answer, bytearray):
                return answer
            url = _redirect_target(url, answer.headers["location"])
        raise ApiFailure(_REFUSED, "too many redirects", cause=Cause.REDIRECTS)

    async def _resolve(self, url: httpx.URL) -> list[Address]:
        addresses = await self._resolver.resolve(url.host, url.port or _DEFAULT_PORTS[url.scheme])
        if url.host.lower() not in self._private_hosts and not all(map(is_public, addresses)):
            raise ApiFailure(_REFUSED, "the address is not public", cause=Cause.NOT_PUBLIC)
        return addresses[:_ADDRESSES_MAX]

    async def _get_from(self, url: httpx.URL, addresses: list[Address]) -> bytearray | httpx.Response:
        """The body, or the response of a redirect."""
        for address in addresses:
            try:
                exchange = partial(self._exchange, url=url, address=address)
                # the last one: a connection belongs to an address and could serve the wrong name
                return await self._exchanges[url.scheme].run(
                    exchange, self._timeout_s, closes_connection=True
                )
            except httpx.ConnectError:
                continue
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                raise ApiFailure(_FAILED, type(error).__name__, cause=Cause.HTTP_ERROR) from error
        raise ApiFailure(_NO_SERVER, "no connection", cause=Cause.NO_CONNECTION)

    async def _exchange(
        self, connection: ExchangeConnection, url: httpx.URL, address: Address
    ) -> bytearray | httpx.Response:
        request = connection.http.build_request(
            "GET",
            url.copy_with(host=str(address)),
            headers={"Host": url.netloc.decode("ascii")},
            # the certificate is checked against the name
            extensions={"sni_hostname": url.host, "trace": connection.trace},
        )
        try:
            response = await connection.http.send(request, stream=True)
        except (httpx.InvalidURL, ValueError, httpx.RemoteProtocolError) as error:
            # httpx parses the location of a redirect here, also when redirects are not followed
            if isinstance(error, httpx.RemoteProtocolError) and not isinstance(
                error.__context__, httpx.InvalidURL
            ):
                raise
            raise ApiFailure(_BAD_URL, "the redirect is malformed", cause=Cause.URL) from error
        try:
            return await self._read_body(response)
        finally:
            await response.aclose()

    async def _read_body(self, response: httpx.Response) -> bytearray | httpx.Response:
        if response.has_redirect_location:
            return response
        encoding = response.headers.get("content-encoding", "identity").lower()
        if response.status_code != httpx.codes.OK or encoding != "identity":
            raise ApiFailure(_FAILED, f"HTTP {response.status_code}", cause=Cause.HTTP_STATUS)
        body, pieces = bytearray(), SmallPieces()
        async for chunk in response.aiter_raw():
            pieces.add(chunk)
            body += chunk
            if len(body) > self._max_bytes:
                raise ApiFailure(_TOO_LARGE)
        return body

    def _client(self, scheme: str) -> httpx.AsyncClient:
        if scheme == "http":
            return client(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        # unlike the context of httpx, writes no session keys into the file of SSLKEYLOGFILE
        self._trust = self._trust or client_context("download", Path(certifi.where()))
        return client(self._trust)


def is_public(address: Address) -> bool:
    """Whether this is an address of the public internet.

    False for private, loopback, link-local, metadata, multicast and shared ranges, and for an IPv6 form of
    such an IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None:
            return False
    is_internal = any(address in network for network in _INTERNAL_NETWORKS)  # False for the other version
    return address.is_global and not address.is_multicast and not is_internal


def _parse(text: str) -> httpx.URL:
    try:
        url = parse_photo_url(text)
    except ValueError as error:
        raise ApiFailure(_BAD_URL, str(error), cause=Cause.URL) from error
    if url.scheme not in _DEFAULT_PORTS:
        raise ApiFailure(_BAD_URL, "neither http nor https", cause=Cause.URL)
    return url


def _redirect_target(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = str(url.join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise ApiFailure(_BAD_URL, "the redirect is malformed", cause=Cause.URL) from error
    return _parse(target)
