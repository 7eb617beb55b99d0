"""The client of the 2018 API ``/face/compare``, behind the ``Compare`` port."""

import re
import secrets
from collections.abc import Callable

import httpx

from agent.compare import contract, signature
from agent.compare.base import CompareClient, Provider
from agent.config import CompareConfig
from agent.core.ports import Clock, ImageSource
from agent.errors import ConfigError
from agent.texts import Text

_VALIDITY_S = 60
_NONCE_END = 10**10
_SIGNABLE = re.compile(r"[A-Za-z0-9_.-]+")  # no character that could end a field of the signature


class Face2018Protocol(Provider):
    """The fields and the signature of the 2018 API."""

    name = contract.PROVIDER
    threshold_floor = contract.THRESHOLD_FLOOR

    def __init__(self, config: CompareConfig, secret_key: Callable[[], bytes], clock: Clock) -> None:
        """Raises ``ConfigError``: missing or non-ASCII ids."""
        for name, value in (("appid", config.appid), ("secret_id", config.secret_id)):
            if not _SIGNABLE.fullmatch(value):
                raise ConfigError(Text("detail.id_signable", key_=f"compare.{name}"))
        if config.bucket and not _SIGNABLE.fullmatch(config.bucket):
            raise ConfigError(Text("detail.id_signable", key_="compare.bucket"))
        super().__init__(config, secret_key, clock)
        self._credential = signature.Credential(config.appid, config.secret_id, config.bucket)

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
        request = self.channel.http.build_request(
            "POST",
            self._config.url,
            # no explicit Content-Type: httpx would omit the boundary
            json=None if files else fields,
            data=fields if files else None,
            files=files or None,
        )
        request.read()  # one buffer, otherwise each part is a separate write
        return request

    def _sign(self, request: httpx.Request) -> None:
        request.headers["Authorization"] = signature.sign(
            self._credential,
            self._secret_key(),
            now_s=self.channel.unix_s(),
            validity_s=_VALIDITY_S,
            nonce=secrets.randbelow(_NONCE_END),
        )

    def _parse(self, status: int, body: bytes) -> contract.CompareAnswer:
        return contract.parse_answer(status, body)


class FaceCompare2018(CompareClient):
    """The client of the 2018 API."""

    provider = Face2018Protocol
