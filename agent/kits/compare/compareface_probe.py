"""The HTTP client of the conformance kit for CompareFace (2020-03-03): signs, sends and decodes."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.kits.compare.probe import Differs, Probe, ProbeAnswer, RequestBody

_JSON = "application/json"
_BUSY, _BUSY_TRIES = "RequestLimitExceeded", 5


@dataclass(frozen=True, slots=True)
class CompareFaceAnswer:
    """One answer, with the fields of ``Response``; empty when the body is another object."""

    http: ProbeAnswer
    fields: Mapping[str, Any]

    @property
    def code(self) -> str:
        """The error code; empty: a success, or no answer of this API."""
        error = self.fields.get("Error")
        code = error.get("Code") if isinstance(error, dict) else None
        return code if isinstance(code, str) else ""

    def __str__(self) -> str:
        if self.code:
            return self.code
        return f"HTTP {self.http.status}, {'a score' if 'Score' in self.fields else 'no error code'}"

    def score(self) -> float:
        """The score, 0 to 100. Raises ``Differs``: no success, or no number in this range."""
        value = self.fields.get("Score")
        if self.code or isinstance(value, bool) or not isinstance(value, int | float):
            raise Differs(f"no score: {self}")
        if not 0 <= value <= 100:
            raise Differs(f"score {value}")
        return float(value)


@dataclass(frozen=True, slots=True)
class Signing:
    """What differs from a correct signature.

    Attributes:
        headers: sent, and not signed; empty value: the header is absent.
        signed: sent and signed, by lower-case name.
        body: signed in place of the body that is sent.
    """

    age_s: int = 0
    signer: str = ""  # another secret id
    key: bytes | None = None
    day: str = ""
    service: str = "iai"
    content_type: str = _JSON
    headers: Mapping[str, str] | None = None
    signed: Mapping[str, str] | None = None
    body: bytes | None = None


class CompareFaceProbe(Probe):
    """One endpoint, one account, the shipped images. The appid and the bucket of the account are not used."""

    _bodies = 0

    async def ask(
        self, fields: Mapping[str, object] | bytes, signing: Signing | None = None
    ) -> CompareFaceAnswer:
        """Send a request. Above the rate limit it is repeated, at most 5 times.

        Raises:
            CompareError: no answer.
        """
        content = fields if isinstance(fields, bytes) else self._body(fields)
        signing = signing or Signing()
        for _ in range(_BUSY_TRIES):
            answer = await self.send_headers(content, self.headers(content, signing))
            if not answer.code.startswith(_BUSY):
                break
            await asyncio.sleep(1)
        return answer

    def _body(self, fields: Mapping[str, object]) -> bytes:
        """The JSON, with another number of spaces at its end each time.

        The signature has no random number: two equal requests of one second have the same signature, which an
        account for single use refuses.
        """
        self._bodies += 1
        return json.dumps(fields).encode() + b" " * self._bodies

    async def send_headers(self, content: bytes, headers: Mapping[str, str]) -> CompareFaceAnswer:
        """Send a body with these headers, once."""
        sent = {name: value for name, value in headers.items() if value}
        content_type = sent.pop("Content-Type", "")
        answer = await self._send_once(RequestBody(content, content_type), sent)
        tree = answer.tree.get("Response") if answer.tree else None
        return CompareFaceAnswer(answer, tree if isinstance(tree, dict) else {})

    def headers(self, content: bytes, signing: Signing) -> dict[str, str]:
        """All headers of a request, as the page of the signature describes them."""
        now_s = int(time.time()) - signing.age_s
        day = signing.day or f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}"
        signed = {"content-type": signing.content_type, "host": self._host} | dict(signing.signed or {})
        lines = "".join(f"{name}:{value.lower()}\n" for name, value in signed.items())
        names, scope = ";".join(signed), f"{day}/{signing.service}/tc3_request"
        body_sha256 = hashlib.sha256(content if signing.body is None else signing.body).hexdigest()
        canonical = f"POST\n/\n\n{lines}\n{names}\n{body_sha256}"
        text = f"TC3-HMAC-SHA256\n{now_s}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        derived = b"TC3" + (self.account.secret_key if signing.key is None else signing.key)
        for step in (*scope.split("/"), text):
            derived = hmac.digest(derived, step.encode(), "sha256")
        credential = f"{signing.signer or self.account.secret_id}/{scope}"
        return {
            "Authorization": f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, "
            f"Signature={derived.hex()}",
            "Content-Type": signing.content_type,
            "X-TC-Action": "CompareFace",
            "X-TC-Version": "2020-03-03",
            "X-TC-Timestamp": str(now_s),
            **(signing.signed or {}),
            **(signing.headers or {}),
        }

    @property
    def _host(self) -> str:
        return self._url.netloc.decode("ascii")


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def pair(probe: CompareFaceProbe, **changes: object) -> dict[str, object]:
    """The simplest request: two images of one person. ``changes``: further parameters; None: absent."""
    images = {"ImageA": encoded(probe.pictures.shot), "ImageB": encoded(probe.pictures.reference)}
    fields: dict[str, object] = images | changes
    return {name: value for name, value in fields.items() if value is not None}


def images(first: bytes, second: bytes) -> dict[str, object]:
    return {"ImageA": encoded(first), "ImageB": encoded(second)}
