"""The wire protocol of the 2018 API: the signed request in two forms, and the decoded answer."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import httpx

from agent.compare import contract, signature
from agent.compare.http_channel import HttpChannel
from agent.config import CompareConfig
from agent.core.model import Comparison
from agent.core.ports import Clock, ImageSource

_VALIDITY_S = 60
_NONCE_END = 10**10


class Face2018Protocol:
    """Implements ``base.Provider`` for a checked config. ``secret_key`` is called for each API call."""

    def __init__(self, config: CompareConfig, secret_key: Callable[[], bytes], clock: Clock) -> None:
        self._config = config
        self._secret_key = secret_key
        self._clock = clock
        self._credential = signature.Credential(config.appid, config.secret_id, config.bucket)
        self._channel = HttpChannel(config.url, config.ca_file, clock)
        self.warm = self._channel.warm
        self.close = self._channel.close
        self.clock_offset_ms = self._channel.clock_offset_ms

    async def compare(
        self, first: ImageSource, second: ImageSource, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        """Make one API call. Raises ``CompareError`` for every answer without a valid similarity."""
        began_ms = self._clock.now_ms()
        authorization = self._authorization()
        sign_ms = self._clock.now_ms() - began_ms
        request = self._request(first, second)
        request.headers["Authorization"] = authorization
        reply = await self._channel.send(request, timeout_ms, on_sent)
        answer = contract.parse_answer(reply.status, reply.body)
        return Comparison(
            similarity=answer.similarity,
            threshold=self._config.threshold,
            provider=contract.PROVIDER,
            session_id=answer.session_id,
            sign_ms=sign_ms,
            connect_ms=reply.connect_ms,
            api_ms=reply.api_ms,
        )

    def _authorization(self) -> str:
        return signature.sign(
            self._credential,
            self._secret_key(),
            now_s=self._channel.unix_s(),
            validity_s=_VALIDITY_S,
            nonce=secrets.randbelow(_NONCE_END),
        )

    def _request(self, first: ImageSource, second: ImageSource) -> httpx.Request:
        """JSON for two urls; multipart when one image is bytes."""
        fields = {contract.APPID: self._config.appid}
        if self._config.bucket:
            fields[contract.BUCKET] = self._config.bucket
        files: dict[str, tuple[str, bytes, str]] = {}
        for side, image, url in zip((first, second), contract.IMAGE_FIELDS, contract.URL_FIELDS, strict=True):
            if isinstance(side, str):
                fields[url] = side
            else:
                files[image] = (f"{image}.jpg", side, "image/jpeg")
        request = self._channel.http.build_request(
            "POST",
            self._config.url,
            # no explicit Content-Type: httpx would omit the boundary
            json=None if files else fields,
            data=fields if files else None,
            files=files or None,
        )
        request.read()  # one buffer, otherwise each part is a separate write
        return request
