"""The API of 2020: ``POST /`` with ``X-TC-Action: CompareFace``, JSON, signed with TC3-HMAC-SHA256.

The signature covers the body. Before the body is read: form, scope, day, time and account of the header.
After it is read: the signature, then the replay and the rate, then the JSON.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from python_multipart.multipart import parse_options_header

from agent.compare import tc3
from agent.compare.compareface_contract import ACTION, BASE64_MAX_CHARS, SERVICE, VERSION, success_body
from agent.compare.contract import ApiFailure, picture_format
from agent.compare.signature import HEADER_MAX_CHARS
from agent.service import compareface_body, forms
from agent.service.auth import FORGED, Authenticator, key_of
from agent.service.causes import Cause
from agent.service.compareface_errors import error_body
from agent.service.image_header import inspect
from agent.service.served_api import Call, Upload

_NO_SIGNATURE, _MALFORMED, _TOO_LARGE, _INVALID, _FORMAT = 4, 5, 20, 21, -1400
_WINDOW_S = 300  # accepted difference between the timestamp and the clock of the service
_FORM = re.compile(
    re.escape(tc3.ALGORITHM)
    + r" +Credential=([A-Za-z0-9_-]{1,128})/([0-9-]{10}/[^/,\s]{1,64}/[a-z0-9_]{1,32}) *, *"
    r"SignedHeaders=([a-z0-9;-]{1,256}) *, *Signature=([0-9a-f]{64})"
)
_SECONDS = re.compile(r"[0-9]{1,10}")
_REQUIRED = frozenset({"content-type", "host"})
_PICTURE_MAX_BYTES = BASE64_MAX_CHARS // 4 * 3
_JPEG_MAX_PX, _OTHER_MAX_PX, _SIDE_MIN_PX = 4_000, 2_000, 64
_REGION = re.compile(r"[a-z]{2,4}(-[a-z0-9]{1,16}){1,3}")
# (similarity of 2018, score of model 3.0): equal false accept rates by the pages of both APIs
_SCALES = ((0.0, 0.0), (70.0, 40.0), (80.0, 50.0), (90.0, 60.0), (100.0, 100.0))


class CompareFaceApi:
    """The ``ServedApi`` of this provider API."""

    name = "compareface_2020"

    def __init__(self, authenticator: Authenticator, body_max_bytes: int) -> None:
        self.body_max_bytes = body_max_bytes
        self._authenticator = authenticator

    async def accept(self, call: Call) -> Upload:
        signed = _parse_header(call.header("authorization"), call.header("x-tc-timestamp"))
        account = self._authenticator.account_of(signed.secret_id)
        self._authenticator.check_time(account, signed.expires_s, 2 * _WINDOW_S)
        _check_target(call)
        call.claimed = account.appid
        memory_bytes = compareface_body.memory_bytes(call.declared_bytes(), self.body_max_bytes)
        return Upload(memory_bytes, partial(self._read_body, call, signed))

    async def _read_body(self, call: Call, signed: _Signed, chunks: AsyncIterator[bytes]) -> forms.Form:
        body, sha256 = bytearray(), hashlib.sha256()

        def write(chunk: bytes) -> None:
            body.extend(chunk)
            sha256.update(chunk)

        try:
            await forms.feed(write, chunks, self.body_max_bytes)
            await self._verify(call, signed, sha256.hexdigest())
            return compareface_body.parse(body)
        finally:
            forms.wipe(body)

    async def _verify(self, call: Call, signed: _Signed, body_sha256: str) -> None:
        account = self._authenticator.account_of(signed.secret_id)  # a reload can have removed it
        if not _is_genuine(signed, key_of(account), call.request.headers, body_sha256):
            raise ApiFailure(FORGED)
        call.appid = account.appid
        self._authenticator.check_time(account, signed.expires_s, 2 * _WINDOW_S)
        await self._authenticator.use(account, signed.digest, signed.expires_s)
        call.is_permitted = True

    def check_picture(self, picture: bytearray) -> None:
        if len(picture) > _PICTURE_MAX_BYTES:
            raise ApiFailure(_TOO_LARGE, f"more than {BASE64_MAX_CHARS} characters in base64")
        image = inspect(picture)
        max_px = _JPEG_MAX_PX if picture_format(bytes(picture[:8])) == "jpeg" else _OTHER_MAX_PX
        if max(image.width, image.height) > max_px:
            raise ApiFailure(_FORMAT, f"the long side is over {max_px} px", cause=Cause.SIZE)
        if min(image.width, image.height) < _SIDE_MIN_PX:
            raise ApiFailure(_FORMAT, f"the short side is under {_SIDE_MIN_PX} px", cause=Cause.SIZE_SMALL)

    def success(self, similarity: float, session: str) -> bytes:
        return success_body(score(similarity), session)

    def failure(self, failure: ApiFailure, session: str) -> bytes:
        return error_body(failure, session)


def _check_target(call: Call) -> None:
    """The headers that name the API. The region has no effect, as the page of this API describes."""
    for name, expected, cause in (
        ("X-TC-Action", ACTION, Cause.ACTION),
        ("X-TC-Version", VERSION, Cause.VERSION),
    ):
        value = call.header(name)
        if not value:
            raise ApiFailure(_INVALID, f"{name} is missing", cause=Cause.PARAMETER_MISSING)
        if value != expected:
            raise ApiFailure(_INVALID, f"{name} is not {expected}", cause=cause)
    region = call.header("x-tc-region")
    if region and not _REGION.fullmatch(region):
        raise ApiFailure(_INVALID, "X-TC-Region is not the name of a region", cause=Cause.REGION)
    if call.header("x-tc-token"):
        raise ApiFailure(_MALFORMED, "this service has no temporary keys", cause=Cause.TOKEN)
    if parse_options_header(call.header("content-type"))[0] != b"application/json":
        raise ApiFailure(_INVALID, "the body is not JSON", cause=Cause.MEDIA_TYPE)


def score(similarity: float) -> float:
    """The score on the scale of model 3.0 for a similarity on the scale of 2018, two decimals.

    Both pages name the false accept rates 1e-3, 1e-4 and 1e-5: at 70, 80, 90 and at 40, 50, 60. How well this
    service reaches these rates is documented in ``recogniser.similarity`` and is the same for both scales.
    """
    for (s0, t0), (s1, t1) in pairwise(_SCALES):
        if similarity <= s1:
            return round(t0 + (t1 - t0) * (similarity - s0) / (s1 - s0), 2)
    raise ValueError("a similarity is at most 100")


@dataclass(frozen=True, slots=True)
class _Signed:
    """A parsed header, not yet verified. ``names``: the signed headers, in their order. Unix seconds."""

    secret_id: str
    signed_s: int
    names: tuple[str, ...]
    signature: str = field(repr=False)

    @property
    def expires_s(self) -> int:
        return self.signed_s + _WINDOW_S

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.signature)


def _parse_header(authorization: str, timestamp: str) -> _Signed:
    """Parse ``Authorization`` and ``X-TC-Timestamp``.

    Raises:
        ApiFailure: 4 empty; 21 no timestamp; 5 another form, another day or service than those of this
            request, or content type or host not signed.
    """
    if not authorization.strip():
        raise ApiFailure(_NO_SIGNATURE)
    if not timestamp:
        raise ApiFailure(_INVALID, "X-TC-Timestamp is missing", cause=Cause.PARAMETER_MISSING)
    match = _FORM.fullmatch(authorization.strip()) if len(authorization) <= HEADER_MAX_CHARS else None
    if match is None or not _SECONDS.fullmatch(timestamp):
        raise ApiFailure(_MALFORMED, "not the form of a TC3 signature")
    secret_id, scope, names, signature = match.groups()
    signed = _Signed(secret_id, int(timestamp), tuple(names.split(";")), signature)
    if scope != tc3.scope(SERVICE, signed.signed_s):
        raise ApiFailure(_MALFORMED, "the credential is of another day or service")
    if not set(signed.names) >= _REQUIRED or len(set(signed.names)) != len(signed.names):
        raise ApiFailure(_MALFORMED, "content-type and host must be signed, once")
    return signed


def _is_genuine(signed: _Signed, key: bytes, headers: Mapping[str, str], body_sha256: str) -> bool:
    """Whether this key signed these headers and this body. Constant time.

    The provider's page writes the values in lower case; the provider's SDK signs them as sent. Both are
    accepted.
    """
    as_sent = {name: headers.get(name, "").strip() for name in signed.names}
    is_genuine = False
    for values in (as_sent, {name: value.lower() for name, value in as_sent.items()}):
        text = tc3.string_to_sign(tc3.canonical_form(values, body_sha256), SERVICE, signed.signed_s)
        expected = tc3.signature(key, text, SERVICE, signed.signed_s)
        is_genuine |= hmac.compare_digest(expected, signed.signature)
    return is_genuine
