"""The API of 2020: ``POST /`` with ``X-TC-Action: CompareFace``, JSON, signed with TC3-HMAC-SHA256.

The signature covers the body. Before the body is read: form, scope, day, time and account of the header.
After it is read: the signature, then the replay and the rate, then the JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from itertools import pairwise

from python_multipart.multipart import parse_options_header

from agent.compare.compareface_contract import ACTION, BASE64_MAX_CHARS, VERSION, success_body
from agent.compare.contract import ApiFailure, picture_format
from agent.service import compareface_body, forms, tc3_signed
from agent.service.auth import FORGED, Authenticator, key_of
from agent.service.causes import Cause
from agent.service.compareface_errors import error_body
from agent.service.front import Call
from agent.service.image_header import inspect

_MALFORMED, _TOO_LARGE, _INVALID, _FORMAT = 5, 20, 21, -1400
_PICTURE_MAX_BYTES = BASE64_MAX_CHARS // 4 * 3
_JPEG_MAX_PX, _OTHER_MAX_PX, _SIDE_MIN_PX = 4_000, 2_000, 64
_REGION = re.compile(r"[a-z]{2,4}(-[a-z0-9]{1,16}){1,3}")
# (similarity of 2018, score of model 3.0): equal false accept rates by the pages of both APIs
_SCALES = ((0.0, 0.0), (70.0, 40.0), (80.0, 50.0), (90.0, 60.0), (100.0, 100.0))


class CompareFaceFront:
    """The front of this API. See ``Front``."""

    name = "compareface_2020"

    def __init__(self, authenticator: Authenticator, body_max_bytes: int) -> None:
        self.body_max_bytes = body_max_bytes
        self._authenticator = authenticator

    async def accept(self, call: Call) -> _Upload:
        signed = tc3_signed.parse(call.header("authorization"), call.header("x-tc-timestamp"))
        account = self._authenticator.account_of(signed.secret_id)
        self._authenticator.check_time(account, signed.expires_s, 2 * tc3_signed.WINDOW_S)
        _check_target(call)
        call.claimed = account.appid
        return _Upload(self._authenticator, signed, call, self.body_max_bytes)

    def check_picture(self, picture: bytearray) -> None:
        if len(picture) > _PICTURE_MAX_BYTES:
            raise ApiFailure(_TOO_LARGE, f"more than {BASE64_MAX_CHARS} characters in base64")
        image = inspect(picture)
        most_px = _JPEG_MAX_PX if picture_format(bytes(picture[:8])) == "jpeg" else _OTHER_MAX_PX
        if max(image.wide, image.high) > most_px:
            raise ApiFailure(_FORMAT, f"the long side is over {most_px} px", cause=Cause.SIZE)
        if min(image.wide, image.high) < _SIDE_MIN_PX:
            raise ApiFailure(_FORMAT, f"the short side is under {_SIDE_MIN_PX} px", cause=Cause.SIZE_SMALL)

    def success(self, similarity: float, session: str) -> bytes:
        return success_body(score(similarity), session)

    def failure(self, failure: ApiFailure, session: str) -> bytes:
        return error_body(failure, session)


class _Upload:
    def __init__(
        self, authenticator: Authenticator, signed: tc3_signed.Tc3Signed, call: Call, limit: int
    ) -> None:
        self._authenticator = authenticator
        self._signed = signed
        self._call, self._limit = call, limit
        self.memory_bytes = compareface_body.memory_bytes(call.declared_bytes(), limit)

    async def read(self, chunks: AsyncIterator[bytes]) -> forms.Form:
        body = _HashedBody()
        try:
            await forms.feed(body, chunks, self._limit)
            await self._verify(body.sha256.hexdigest())
            return compareface_body.parse(body.content)
        finally:
            forms.wipe(body.content)

    async def _verify(self, body_sha256: str) -> None:
        signed, call = self._signed, self._call
        account = self._authenticator.account_of(signed.secret_id)  # a reload can have removed it
        if not tc3_signed.is_genuine(signed, key_of(account), call.request.headers, body_sha256):
            raise ApiFailure(FORGED)
        call.appid = account.appid
        self._authenticator.check_time(account, signed.expires_s, 2 * tc3_signed.WINDOW_S)
        await self._authenticator.use(account, signed.digest, signed.expires_s)
        call.is_permitted = True


class _HashedBody:
    def __init__(self) -> None:
        self.content = bytearray()
        self.sha256 = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        self.content += chunk
        self.sha256.update(chunk)


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
    service reaches these rates is documented in ``agent.service.similarity`` and is the same for both scales.
    """
    for (s0, t0), (s1, t1) in pairwise(_SCALES):
        if similarity <= s1:
            return round(t0 + (t1 - t0) * (similarity - s0) / (s1 - s0), 2)
    raise ValueError("a similarity is at most 100")
