"""The client of the 2018 API ``/face/compare``, behind the ``Compare`` port."""

import re
import secrets
from collections.abc import Callable, Mapping

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
        self._url = httpx.URL(config.url)  # parsed once, not for each API call
        self._credential = signature.Credential(config.appid, config.secret_id, config.bucket)

    def _request(self, first: ImageSource, second: ImageSource) -> httpx.Request:
        """JSON for two urls; multipart when one image is bytes."""
        fields = {contract.APPID: self._config.appid}
        if self._config.bucket:
            fields[contract.BUCKET] = self._config.bucket
        files: dict[str, bytes] = {}
        for side, image, url in zip((first, second), contract.IMAGE_FIELDS, contract.URL_FIELDS, strict=True):
            if isinstance(side, str):
                fields[url] = side
            else:
                files[image] = side
        if not files:
            return self.channel.http.build_request("POST", self._url, json=fields)
        boundary = secrets.token_hex(16)
        return self.channel.http.build_request(
            "POST",
            self._url,
            content=_multipart(boundary.encode(), fields, files),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )

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


def _multipart(boundary: bytes, fields: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    """The body in one buffer. httpx takes three times as long: it passes each part as a stream."""
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"'
    parts = list[bytes]()
    for name, value in fields.items():
        parts += (head % (boundary, name.encode()), b"\r\n\r\n", value.encode(), b"\r\n")
    for name, picture in files.items():
        kind = b'; filename="%s.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' % name.encode()
        parts += (head % (boundary, name.encode()), kind, picture, b"\r\n")
    return b"".join((*parts, b"--%s--\r\n" % boundary))


class FaceCompare2018(CompareClient):
    """The client of the 2018 API."""

    provider = Face2018Protocol
