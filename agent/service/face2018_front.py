"""The API of 2018: ``POST /face/compare``, multipart or JSON, signed in the header alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agent.compare.contract import ApiFailure, failure_body, success_body
from agent.compare.signature import Signed
from agent.service import forms
from agent.service.auth import Authenticator
from agent.service.front import Call


class Face2018Front:
    """The front of this API. See ``Front``."""

    name = "face_compare_2018"

    def __init__(self, authenticator: Authenticator, body_max_bytes: int) -> None:
        self.body_max_bytes = body_max_bytes
        self._authenticator = authenticator

    async def accept(self, call: Call) -> _Upload:
        signed = self._authenticator.verify(call.header("authorization"))
        call.appid = self._authenticator.appid_of(signed)
        await self._authenticator.permit(signed)
        call.is_permitted = True
        return _Upload(self._authenticator, signed, call, self.body_max_bytes)

    def check_picture(self, picture: bytearray) -> None:
        """The recogniser has the limits of this API."""

    def success(self, similarity: float, session: str) -> bytes:
        return success_body(similarity, session)

    def failure(self, failure: ApiFailure, session: str) -> bytes:
        return failure_body(failure, session)


class _Upload:
    def __init__(self, authenticator: Authenticator, signed: Signed, call: Call, limit: int) -> None:
        self._authenticator = authenticator
        self._signed = signed
        self._kind, self._limit = call.header("content-type"), limit
        self.memory_bytes = forms.flight_bytes(self._kind, call.declared_bytes(), limit)

    async def read(self, chunks: AsyncIterator[bytes]) -> forms.Form:
        form = await forms.read_form(self._kind, chunks, self._limit)
        try:
            self._authenticator.check_target(self._signed, form.appid, form.bucket)
        except ApiFailure:
            form.wipe()
            raise
        return form
