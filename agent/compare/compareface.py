"""``CompareFace`` (version 2020-03-03), the successor API that is on sale, behind the ``Compare`` port.

Scale, threshold, limits and error codes differ from the 2018 API. Model 3.0 has false accept rates of 1e-3
at 40, 1e-4 at 50 and 1e-5 at 60. An error does not name the image at fault: see ``compareface_codes``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Literal

import httpx

from agent.compare import contract, tc3
from agent.compare.base import CompareClient, check_endpoint
from agent.compare.compareface_codes import failure
from agent.compare.http_channel import HttpChannel
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Comparison
from agent.core.ports import Clock, ImageSource
from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError

PROVIDER = "compareface_2020"
ACTION, VERSION, SERVICE = "CompareFace", "2020-03-03", "iai"
FACE_MODEL = "3.0"  # the threshold applies to the scale of this model only
THRESHOLD_FLOOR = 50.0  # documented as "usually the same person" above; a config below this value is refused
BASE64_MAX_CHARS = 5_000_000

_QUALITY = 2  # 0–4: refuses heavy blur and covered eyes, nose or mouth, on either image
_ROTATE = 0  # shots are upright and EXIF is applied, so a search for rotated faces only costs time
_HTTP_OK = 200
_SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_REGION = re.compile(r"[a-z0-9-]{0,32}")


class CompareFace2020(CompareClient):
    """The client of the 2020 API. One persistent connection, one total timeout.

    Args: as for ``face2018_client.FaceCompare2018``. Of the ids in the config only ``secret_id`` is used.

    Raises:
        ConfigError: plain http in ``shop``, a url with a path, a threshold below the floor, a malformed id.
    """

    def __init__(
        self,
        config: CompareConfig,
        secret_key: bytes | Callable[[], bytes],
        clock: Clock,
        *,
        profile: Literal["demo", "shop"] = "shop",
        plain_http: bool = False,
    ) -> None:
        url = check_endpoint(config, plain_http or profile == "demo", THRESHOLD_FLOOR)
        if url.raw_path not in (b"", b"/"):
            raise ConfigError(
                "compare.url: the url of this provider has no path, e.g. https://iai.tencentcloudapi.com"
            )
        if not _SECRET_ID.fullmatch(config.secret_id):
            raise ConfigError("compare.secret_id: needs letters, digits, '-' or '_'")
        if not _REGION.fullmatch(config.region):
            raise ConfigError("compare.region: needs lower-case letters, digits or '-', e.g. ap-singapore")
        protocol = _CompareFaceProtocol(
            config, secret_key if callable(secret_key) else lambda: secret_key, clock
        )
        super().__init__(protocol, ReferenceLoader(config, profile), clock)


class _CompareFaceProtocol:
    """Implements ``base.Provider``. ``secret_key`` is called for each API call."""

    def __init__(self, config: CompareConfig, secret_key: Callable[[], bytes], clock: Clock) -> None:
        self._config = config
        self._secret_key = secret_key
        self._clock = clock
        self._channel = HttpChannel(config.url, config.ca_file, clock)
        self.warm = self._channel.warm
        self.close = self._channel.close
        self.clock_offset_ms = self._channel.clock_offset_ms

    async def compare(
        self, first: ImageSource, second: ImageSource, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        payload = _payload(first, second)
        began_ms = self._clock.now_ms()
        request = self._request(payload)
        sign_ms = self._clock.now_ms() - began_ms
        reply = await self._channel.send(request, timeout_ms, on_sent)
        answer = parse_answer(reply.status, reply.body)
        return Comparison(
            similarity=answer.similarity,
            threshold=self._config.threshold,
            provider=PROVIDER,
            session_id=answer.session_id,
            sign_ms=sign_ms,
            connect_ms=reply.connect_ms,
            api_ms=reply.api_ms,
        )

    def _request(self, payload: bytes) -> httpx.Request:
        now_s = self._channel.unix_s()
        request = self._channel.http.build_request(
            "POST",
            self._config.url,
            content=payload,
            headers={
                "Content-Type": tc3.CONTENT_TYPE,
                "X-TC-Action": ACTION,
                "X-TC-Version": VERSION,
                "X-TC-Timestamp": str(now_s),
            },
        )
        if self._config.region:
            request.headers["X-TC-Region"] = self._config.region
        request.headers["Authorization"] = tc3.authorization(
            self._config.secret_id,
            self._secret_key(),
            service=SERVICE,
            host=request.headers["Host"],
            payload=payload,
            timestamp_s=now_s,
        )
        return request


def parse_answer(status: int, body: bytes) -> contract.CompareAnswer:
    """Decode one HTTP answer.

    Raises:
        CompareError: any answer but HTTP 200 without error and with a score of 0–100 by ``FACE_MODEL``.
            ``code`` is a ``Reason``, ``retry`` the table's advice.
    """
    tree = contract.load_answer(status, body)
    response = tree.get("Response") if isinstance(tree, dict) else None
    if not isinstance(response, dict):
        raise contract.malformed(status, "Response is missing")
    if "Error" in response:
        raise _failure(status, response)
    if status != _HTTP_OK:
        raise contract.malformed(status, "a score without HTTP 200")
    if response.get("FaceModelVersion") != FACE_MODEL:
        raise contract.malformed(status, "the score of another face model")
    score = contract.on_scale(status, response.get("Score"))
    return contract.CompareAnswer(score, _session(status, response))


def _failure(status: int, response: dict[str, object]) -> CompareError:
    error = response["Error"]
    code = error.get("Code") if isinstance(error, dict) else None
    if not isinstance(code, str) or "Score" in response:
        return contract.malformed(status, "an error without a code, or beside a score")
    return failure(code, contract.session_text(response.get("RequestId")))


def _session(status: int, response: dict[str, object]) -> str:
    value = response.get("RequestId", "")
    if not isinstance(value, str) or contract.session_text(value) != value:
        raise contract.malformed(status, "RequestId is not printable text")
    return value


def _payload(first: ImageSource, second: ImageSource) -> bytes:
    fields: dict[str, object] = {}
    reasons = (Reason.FACE_UNUSABLE, Reason.REFERENCE_UNUSABLE)
    for side, name, reason in zip((first, second), "AB", reasons, strict=True):
        if isinstance(side, str):
            fields[f"Url{name}"] = side
            continue
        encoded = base64.b64encode(side).decode("ascii")
        if len(encoded) > BASE64_MAX_CHARS:
            raise CompareError(f"image {name} is over {BASE64_MAX_CHARS} base64 characters", code=reason)
        fields[f"Image{name}"] = encoded
    fields |= {"FaceModelVersion": FACE_MODEL, "QualityControl": _QUALITY, "NeedRotateDetection": _ROTATE}
    return json.dumps(fields).encode()
