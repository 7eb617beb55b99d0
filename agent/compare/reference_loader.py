"""Loader of the enrolled photo: fetches its bytes and checks them against the request of the till."""

import asyncio
import hashlib
from functools import partial
from typing import Literal

import httpx

from agent.compare import contract
from agent.compare.exchange import ExchangeConnection, Exchanges, client
from agent.compare.photo_url import parse_photo_url
from agent.compare.translate import FOREIGN, no_answer
from agent.compare.transport import read_whole, trusted_certificates
from agent.config import CompareConfig
from agent.core.model import Reference
from agent.core.ports import ImageSource
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry, reason_of
from agent.texts import Text

_GONE = frozenset({401, 403, 404, 410})
_refused = partial(CompareError, code=Reason.REFERENCE_REFUSED)
_unusable = partial(CompareError, code=Reason.REFERENCE_UNUSABLE)
_unreachable = partial(CompareError, code=Reason.REFERENCE_UNREACHABLE)


class ReferenceLoader:
    """Resolves references by the rules of the config. Keeps no picture."""

    def __init__(self, config: CompareConfig, profile: Literal["demo", "shop"]) -> None:
        self._config = config
        self._https_only = profile != "demo"
        self._exchanges: Exchanges | None = None

    async def resolve(self, reference: Reference) -> ImageSource:
        """The bytes of the photo, or its url when the config lets the provider download the photo.

        Raises:
            CompareError: ``reference_refused`` (not allowed, or another photo than the till named),
                ``reference_unreachable`` (download failed), ``reference_unusable`` (not a picture).
        """
        if reference.image is not None:
            return self._checked(reference.image, reference.sha256)
        url = self._parsed(reference.url or "")
        if self._config.reference == "passthrough":
            return str(url)
        name = url.host if url.port is None else f"{url.host}:{url.port}"
        if name not in {host.lower() for host in self._config.reference_hosts}:
            raise _refused(Text("detail.photo_host", name=name))
        image = await self._fetch(url)
        # megabytes; a photo inside a request is small
        return await asyncio.to_thread(self._checked, image, reference.sha256)

    async def close(self) -> None:
        if self._exchanges is not None:
            await self._exchanges.close()
            self._exchanges = None

    def _checked(self, image: bytes, sha256: str | None) -> bytes:
        if sha256 is not None and hashlib.sha256(image).hexdigest() != sha256.lower():
            raise _refused(Text("detail.photo_other"))
        if len(image) > self._config.reference_max_bytes:
            raise _unusable(Text("detail.photo_large", most=self._config.reference_max_bytes))
        if contract.picture_format(image) is None:
            raise _unusable(Text("detail.photo_format"))
        return image

    def _parsed(self, text: str) -> httpx.URL:
        if len(text) > contract.URL_MAX_CHARS:
            raise _refused(Text("detail.photo_url_long"))
        try:
            url = parse_photo_url(text)
        except ValueError as error:
            raise _refused(reason_of(error)) from error
        if url.scheme != "https" and (self._https_only or url.scheme != "http"):
            raise _refused(Text("detail.photo_https"))
        return url

    async def _fetch(self, url: httpx.URL) -> bytes:
        """Download the photo. Redirects are not followed, so no other host gets a request."""
        if self._exchanges is None:
            context = trusted_certificates("https:", self._config.ca_file)
            self._exchanges = Exchanges(lambda: client(context))
        try:
            body = await self._exchanges.run(
                lambda connection: self._download(connection, url), self._config.reference_timeout_ms / 1e3
            )
        except FOREIGN as error:
            raise _unreachable(no_answer(error), retry=Retry.BACKOFF) from error
        if body is None:
            max_bytes = self._config.reference_max_bytes
            raise _unusable(Text("detail.photo_large_compressed", most=max_bytes))
        return body

    async def _download(self, connection: ExchangeConnection, url: httpx.URL) -> bytes | None:
        request = connection.http.build_request("GET", url)
        request.extensions["trace"] = connection.trace
        connection.begin()
        response = await connection.http.send(request, stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                retry = Retry.NEVER if response.status_code in _GONE else Retry.BACKOFF
                raise _unreachable(Text("detail.http_status", status=response.status_code), retry=retry)
            return await read_whole(connection, response, self._config.reference_max_bytes)
        finally:
            await response.aclose()
