"""The API of 2018: ``POST /face/compare``, multipart or JSON, signed in the header alone."""

from collections.abc import AsyncIterator
from functools import partial

from agent.compare.contract import ApiFailure, failure_body, success_body
from agent.compare.signature import Signed
from agent.service import forms
from agent.service.auth import Authenticator
from agent.service.served_api import Call, Upload


class Face2018Api:
    """The ``ServedApi`` of this provider API."""

    name = "face_compare_2018"

    def __init__(self, authenticator: Authenticator, body_max_bytes: int) -> None:
        self.body_max_bytes = body_max_bytes
        self._authenticator = authenticator

    async def accept(self, call: Call) -> Upload:
        signed = self._authenticator.verify(call.header("authorization"))
        call.appid = self._authenticator.account_of(signed.secret_id).appid  # the header can name another
        await self._authenticator.permit(signed)
        call.is_permitted = True
        kind = call.header("content-type")
        memory_bytes = forms.memory_bytes(kind, call.declared_bytes(), self.body_max_bytes)
        return Upload(memory_bytes, partial(self._read, signed, kind))

    async def _read(self, signed: Signed, kind: str, chunks: AsyncIterator[bytes]) -> forms.Form:
        form = await forms.read_form(kind, chunks, self.body_max_bytes)
        try:
            self._authenticator.check_target(signed, form.appid, form.bucket)
        except ApiFailure:
            form.wipe()
            raise
        return form

    def check_picture(self, picture: bytearray) -> None:
        """The recogniser has the limits of this API."""

    def success(self, similarity: float, session: str) -> bytes:
        return success_body(similarity, session)

    def failure(self, failure: ApiFailure, session: str) -> bytes:
        return failure_body(failure, session)
