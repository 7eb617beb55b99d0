"""The wire contract of ``POST /face/compare``, shared by client and service. Pure: bytes in, values out.

Source: the documentation page of the API, 2018-06-13. imageA is the shot, imageB the enrolled photo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from agent.compare.codes import meaning_of, table
from agent.core import strict_json
from agent.core.reasons import Reason
from agent.errors import AgentError, CompareError, Retry
from agent.texts import Text

PROVIDER = "face_compare_2018"
PATH = "/face/compare"
THRESHOLD_FLOOR = 75.0  # on the scale of this provider; a config below this value is refused

APPID, BUCKET = "appid", "bucket"
IMAGE_FIELDS = ("imageA", "imageB")
URL_FIELDS = ("urlA", "urlB")

BODY_MAX_BYTES = 6_000_000  # a larger body is code 23
URL_MAX_CHARS = 2_048  # a longer url is code -1304
IMAGE_MAX_PX = 4_000  # long side; checked in the header, before decoding
ANSWER_MAX_BYTES = 64 * 1024  # a real answer has 109

_RATE_LIMIT = 15  # concerns no image
_SESSION_MAX_CHARS = 256
_CODE_MAX = 2**31 - 1
_HTTP_OK, _HTTP_TOO_LARGE, _HTTP_BUSY, _HTTP_SERVER_FAULT = 200, 413, 429, 500

PictureFormat = Literal["jpeg", "png", "bmp"]


class ApiFailure(AgentError):
    """One failure of this contract: its code and the image at fault (``fail_flag`` 1, 2, or None).

    ``cause`` names the limit or check of the service that failed; empty where the code is sufficient.
    """

    code = "api_failure"

    def __init__(
        self, api_code: int, detail: str = "", *, fail_flag: int | None = None, cause: str = ""
    ) -> None:
        super().__init__(detail or table()[api_code].name)
        self.api_code = api_code
        self.fail_flag = fail_flag
        self.cause = cause

    def of_image(self, fail_flag: int | None) -> ApiFailure:
        """The same failure with the image at fault; a failure of the service itself stays without a flag."""
        flag = None if self.api_code == _RATE_LIMIT else fail_flag
        return ApiFailure(self.api_code, str(self), fail_flag=flag, cause=self.cause)


@dataclass(frozen=True, slots=True)
class CompareAnswer:
    """A success. ``similarity`` is finite, 0–100."""

    similarity: float
    session_id: str


def picture_format(head: bytes) -> PictureFormat | None:
    """The picture format by the first bytes; None for a format outside this contract, e.g. GIF."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "bmp" if head.startswith(b"BM") else None


# --- service: encode answers -----------------------------------------------------------


def success_body(similarity: float, session_id: str) -> bytes:
    """The bytes of a success, fields in the documented order. ``similarity`` is finite, 0–100."""
    data = {"similarity": float(similarity), "session_id": session_id}
    return _dump({"data": data, "code": 0, "message": "OK"})


def failure_body(failure: ApiFailure, session_id: str) -> bytes:
    """The bytes of a failure, fields in the documented order."""
    data: dict[str, object] = {"session_id": session_id}
    if failure.fail_flag is not None:
        data["fail_flag"] = failure.fail_flag
    if failure.cause:
        data["cause"] = str(failure.cause)
    code = failure.api_code  # clients compare the text of code 3, which the documentation gives verbatim
    message = "account abnormal,errorno is:2" if code == 3 else table()[code].name
    return _dump({"data": data, "code": code, "message": message})


def _dump(tree: dict[str, object]) -> bytes:
    return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()


# --- client: decode answers ------------------------------------------------------------


def parse_answer(status: int, body: bytes) -> CompareAnswer:
    """Decode one HTTP answer.

    Raises:
        CompareError: any answer but HTTP 200 with code 0 and a finite similarity of 0–100.
            ``code`` is a ``Reason``, ``retry`` the table's advice, ``api_code`` the API's number if present.
    """
    tree = load_answer(status, body)
    code = tree.get("code") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(code, int) or isinstance(code, bool):
        raise malformed_answer(status, Text("detail.answer_no_code"))
    if abs(code) > _CODE_MAX:
        raise malformed_answer(status, Text("detail.answer_code_range"))
    data = tree.get("data")
    fields = data if isinstance(data, dict) else {}
    if code != 0:
        raise _failure(code, fields)
    if status != _HTTP_OK:
        raise malformed_answer(status, Text("detail.answer_code_status"))
    return decode_success(status, fields, "similarity", "session_id")


def decode_success(status: int, fields: dict[str, object], value_key: str, session_key: str) -> CompareAnswer:
    """The answer of a successful API call, from its decoded fields.

    ``value_key`` and ``session_key``: the keys of the similarity and of the session id.

    Raises:
        CompareError: no finite similarity of 0–100, or a session id that is not printable text.
    """
    value = fields.get(value_key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise malformed_answer(status, Text("detail.answer_no_number"))
    if not 0 <= value <= 100:
        raise malformed_answer(status, Text("detail.answer_number_range"))
    session_id = fields.get(session_key, "")
    if not isinstance(session_id, str) or session_text(session_id) != session_id:
        raise malformed_answer(status, Text("detail.answer_session", name=session_key))
    return CompareAnswer(float(value), session_id)


def _failure(code: int, fields: dict[str, object]) -> CompareError:
    flag = fields.get("fail_flag")
    meaning = meaning_of(code, flag if isinstance(flag, int) and not isinstance(flag, bool) else None)
    row = table().get(code)
    # never the message of the API: foreign text, which may quote the request
    text = Text("detail.at", place=row.name, reason=row.meaning) if row else Text("detail.unknown_here")
    return CompareError(
        Text("detail.api_code", code=code, meaning=text),
        code=meaning.reason,
        fix=meaning.fix,
        retry=meaning.retry,
        api_code=code,
        session_id=session_text(fields.get("session_id")),
    )


def load_answer(status: int, body: bytes) -> object:
    """Parse a JSON body, strictly.

    Raises:
        CompareError: a body without JSON (HTML, empty, truncated), by the HTTP status alone.
    """
    try:
        return strict_json.loads(body)
    except ValueError as error:
        if status == _HTTP_BUSY:
            failure = CompareError(
                Text("detail.http_status", status=status), code=Reason.COMPARE_BUSY, retry=Retry.BACKOFF
            )
        elif status >= _HTTP_SERVER_FAULT:
            failure = CompareError(
                Text("detail.http_status", status=status), code=Reason.COMPARE_FAILED, retry=Retry.BACKOFF
            )
        elif status == _HTTP_TOO_LARGE:  # nginx accepts 1 MB unless configured
            failure = CompareError(
                Text("detail.http_proxy_limit", status=status),
                code=Reason.COMPARE_CONFIG,
                fix=Text("fix.proxy_body_limit"),
            )
        elif status != _HTTP_OK:
            failure = CompareError(Text("detail.http_no_code", status=status), code=Reason.COMPARE_CONFIG)
        else:
            failure = malformed_answer(status, Text("detail.answer_no_json", kind=type(error).__name__))
        raise failure from error


def malformed_answer(status: int, fault: Text) -> CompareError:
    """The error for an answer that breaks the contract."""
    return CompareError(
        Text("detail.http_malformed", status=status, fault=fault), code=Reason.COMPARE_MALFORMED
    )


def session_text(value: object) -> str:
    """The session id if it fits a log line and a result, otherwise empty."""
    fits = isinstance(value, str) and len(value) <= _SESSION_MAX_CHARS and value.isprintable()
    return value if fits and isinstance(value, str) else ""
