"""``CompareFace`` (version 2020-03-03), the successor API that is on sale, behind the ``Compare`` port.

Scale, threshold, limits and error codes differ from the 2018 API. Model 3.0 has false accept rates of 1e-3
at 40, 1e-4 at 50 and 1e-5 at 60.

Unlike the 2018 API, an error does not name the image at fault. The table (package data) assigns an error of
size, resolution, decoding or download to the enrolled photo, because the terminal itself found the face in
the shot and encoded the shot. Every other image error requests a new shot, and its text names both images.
"""

import base64
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import httpx

from agent import resources
from agent.compare import contract, tc3
from agent.compare.base import CompareClient, Provider
from agent.compare.compareface_contract import ACTION, BASE64_MAX_CHARS, FACE_MODEL, SERVICE, VERSION
from agent.config import CompareConfig
from agent.core.ports import Clock, ImageSource
from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError, Retry
from agent.texts import Text

_QUALITY = 2  # 0–4: refuses heavy blur and covered eyes, nose or mouth, on either image
_ROTATE = 0  # shots are upright and EXIF is applied, so a search for rotated faces only costs time
_HTTP_OK = 200
_SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REGION = re.compile(r"[a-z0-9-]{0,32}")
_CODE = re.compile(r"[A-Za-z0-9.]{1,80}")


@dataclass(frozen=True, slots=True)
class CompareFaceCode:
    """One error code. ``fix`` is for the cashier."""

    meaning: Text
    reason: Reason
    retry: Retry
    fix: Text


@cache
def table() -> dict[str, CompareFaceCode]:
    """All known error codes by name. Read from package data on first use."""
    rows = tomllib.loads(resources.data("compareface_codes.toml").read_text(encoding="utf-8"))
    return {
        name: CompareFaceCode(
            Text(f"api_meaning.{name}"),
            Reason(row["reason"]),
            Retry(row["retry"]),
            Text(f"compareface.{row['words']}"),
        )
        for name, row in rows.items()
    }


class CompareFaceProtocol(Provider):
    """The fields and the signature of the 2020 API. Of the ids in the config only ``secret_id`` is used."""

    name = "compareface_2020"
    threshold_floor = 50.0  # documented as "usually the same person" above

    def __init__(self, config: CompareConfig, secret_key: Callable[[], bytes], clock: Clock) -> None:
        """Raises ``ConfigError``: a url with a path, a malformed id or region."""
        if httpx.URL(config.url).raw_path not in (b"", b"/"):
            raise ConfigError(Text("detail.url_with_path"))
        if not _SECRET_ID.fullmatch(config.secret_id):
            raise ConfigError(Text("detail.secret_id_characters"))
        if not _REGION.fullmatch(config.region):
            raise ConfigError(Text("detail.region_characters"))
        super().__init__(config, secret_key, clock)

    def _request(self, first: ImageSource, second: ImageSource) -> httpx.Request:
        headers = {"Content-Type": tc3.CONTENT_TYPE, "X-TC-Action": ACTION, "X-TC-Version": VERSION}
        if self._config.region:
            headers["X-TC-Region"] = self._config.region
        return self.channel.http.build_request(
            "POST", self._config.url, content=_payload(first, second), headers=headers
        )

    def _sign(self, request: httpx.Request) -> None:
        now_s = self.channel.unix_s()
        request.headers["X-TC-Timestamp"] = str(now_s)
        request.headers["Authorization"] = tc3.authorization(
            self._config.secret_id,
            self._secret_key(),
            service=SERVICE,
            host=request.headers["Host"],
            payload=request.content,
            timestamp_s=now_s,
        )

    def _parse(self, status: int, body: bytes) -> contract.CompareAnswer:
        return parse_answer(status, body)


class CompareFace2020(CompareClient):
    """The client of the 2020 API."""

    provider = CompareFaceProtocol


def parse_answer(status: int, body: bytes) -> contract.CompareAnswer:
    """Decode one HTTP answer.

    Raises:
        CompareError: any answer but HTTP 200 without error and with a score of 0–100 by ``FACE_MODEL``.
            ``code`` is a ``Reason``, ``retry`` the table's advice.
    """
    tree = contract.load_answer(status, body)
    response = tree.get("Response") if isinstance(tree, dict) else None
    if not isinstance(response, dict):
        raise contract.malformed_answer(status, Text("detail.answer_no_response"))
    if "Error" in response:
        error = response["Error"]
        name = error.get("Code") if isinstance(error, dict) else None
        if not isinstance(name, str) or "Score" in response:
            raise contract.malformed_answer(status, Text("detail.answer_no_error_code"))
        raise error_of_code(name, contract.session_text(response.get("RequestId")))
    if status != _HTTP_OK:
        raise contract.malformed_answer(status, Text("detail.answer_score_status"))
    if response.get("FaceModelVersion") != FACE_MODEL:
        raise contract.malformed_answer(status, Text("detail.answer_other_model"))
    return contract.decode_success(status, response, "Score", "RequestId")


def error_of_code(name: str, session_id: str) -> CompareError:
    """The error for one code. An unknown code is never retried, and is quoted only if it is well-formed."""
    code = table().get(name)
    if code is None:
        name = name if _CODE.fullmatch(name) else "unprintable"
        fix = Text("api_code.unknown", code=name)
        code = CompareFaceCode(Text("detail.unknown_here"), Reason.COMPARE_UNKNOWN_CODE, Retry.NEVER, fix)
    return CompareError(
        Text("detail.compareface_error", name=name, meaning=code.meaning),
        code=code.reason,
        fix=code.fix,
        retry=code.retry,
        session_id=session_id,
    )


def _payload(first: ImageSource, second: ImageSource) -> bytes:
    fields: dict[str, object] = {}
    reasons = (Reason.FACE_UNUSABLE, Reason.REFERENCE_UNUSABLE)
    for side, name, reason in zip((first, second), "AB", reasons, strict=True):
        if isinstance(side, str):
            fields[f"Url{name}"] = side
            continue
        encoded = base64.b64encode(side).decode("ascii")
        if len(encoded) > BASE64_MAX_CHARS:
            raise CompareError(
                Text("detail.image_base64_long", name=name, most=BASE64_MAX_CHARS), code=reason
            )
        fields[f"Image{name}"] = encoded
    fields |= {"FaceModelVersion": FACE_MODEL, "QualityControl": _QUALITY, "NeedRotateDetection": _ROTATE}
    return json.dumps(fields).encode()
