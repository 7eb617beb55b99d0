"""The TC3 signature against the provider's SDK, at a fixed time and over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import types

import pytest
from tencentcloud.common import abstract_client, credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.common.sign import Sign
from tencentcloud.iai.v20200303 import iai_client, models

from agent.compare import tc3
from tests.compare.servers import endpoint, http, replies
from tests.compare.test_compareface import NOW_S, PHOTO, SECRET, SECRET_ID, SHOT, SUCCESS, client

# the SDK uses a function that Python 3.12 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

URL = "http://photos.example/?name=\u5218&size=1"


def official(port: int, region: str = "", **fields: object) -> None:
    """Make one call with the provider's SDK."""
    profile = HttpProfile(protocol="http", endpoint=f"localhost:{port}")
    ids = credential.Credential(SECRET_ID, SECRET.decode())
    sdk = iai_client.IaiClient(ids, region, ClientProfile(httpProfile=profile))
    wanted = models.CompareFaceRequest()
    wanted.from_json_string(json.dumps(fields))
    sdk.CompareFace(wanted)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abstract_client, "time", types.SimpleNamespace(time=lambda: NOW_S))


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(
    ("sides", "fields", "region"),
    [
        ((SHOT, PHOTO), {"ImageA": SHOT, "ImageB": PHOTO}, ""),
        ((SHOT, URL), {"ImageA": SHOT, "UrlB": URL}, ""),
        ((URL, URL), {"UrlA": URL, "UrlB": URL}, "ap-singapore"),
        ((b"\0" * 300_001, PHOTO), {"ImageA": b"\0" * 300_001, "ImageB": PHOTO}, ""),
    ],
    ids=["bytes", "bytes and url", "urls, with a region", "large"],
)
async def test_same_request_of_the_official_sdk_has_the_same_bytes(
    sides: tuple[bytes | str, bytes | str], fields: dict[str, bytes | str], region: str
) -> None:
    theirs = {name: base64.b64encode(v).decode() if isinstance(v, bytes) else v for name, v in fields.items()}
    options: dict[str, object] = {"FaceModelVersion": "3.0", "QualityControl": 2, "NeedRotateDetection": 0}
    async with endpoint(replies(http(SUCCESS))) as server, client(server.port, region=region) as api:
        answer = await api.compare(*sides, timeout_ms=60_000)
        await asyncio.to_thread(official, server.port, region, **theirs, **options)
    assert (answer.similarity, answer.session_id, answer.threshold) == (87.25, "r-1", 60)
    assert answer.provider == "compareface_2020"
    own, other = server.posts
    assert (own.method, own.target) == (other.method, other.target) == ("POST", "/")
    assert own.body == other.body
    for name in ("authorization", "content-type", "host", "x-tc-action", "x-tc-version", "x-tc-timestamp"):
        assert own.headers[name] == other.headers[name], name
    assert own.headers.get("x-tc-region") == other.headers.get("x-tc-region") == (region or None)


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("timestamp_s", [0, 86_399, 86_400, NOW_S, 4_102_444_799])
@pytest.mark.parametrize("payload", [b"", b"{}", "刷脸".encode(), b"\xff" * 70_000])
def test_canonical_request_string_and_signature_are_the_sdks(
    monkeypatch: pytest.MonkeyPatch, timestamp_s: int, payload: bytes
) -> None:
    """Compare with the digested bytes, the signed text and the signature of the SDK."""
    digested, signed = list[bytes](), list[str]()
    real = abstract_client.hashlib

    def sha256(data: bytes) -> object:
        digested.append(data)
        return real.sha256(data)

    def sign_tc3(key: str, date: str, service: str, text: str) -> str:
        signed.append(text)
        return str(Sign.sign_tc3(key, date, service, text))

    monkeypatch.setattr(abstract_client, "hashlib", types.SimpleNamespace(sha256=sha256))
    monkeypatch.setattr(abstract_client, "Sign", types.SimpleNamespace(sign_tc3=sign_tc3))
    host = "iai.tencentcloudapi.com"
    wanted = types.SimpleNamespace(
        uri="/",
        data=payload,
        method="POST",
        header={"Content-Type": "application/json", "Host": host, "X-TC-Timestamp": str(timestamp_s)},
    )
    sdk = iai_client.IaiClient(credential.Credential(SECRET_ID, SECRET.decode()), "")
    date = tc3.string_to_sign("", "iai", timestamp_s).splitlines()[2].split("/")[0]
    expected = sdk._get_tc3_signature({}, wanted, date, "iai", SECRET.decode())
    canonical = tc3.canonical_request(host, payload)
    assert digested == [payload, canonical.encode()]
    assert signed == [tc3.string_to_sign(canonical, "iai", timestamp_s)]
    assert tc3.signature(SECRET, signed[0], "iai", timestamp_s) == expected
    whole = tc3.authorization(
        SECRET_ID, SECRET, service="iai", host=host, payload=payload, timestamp_s=timestamp_s
    )
    scope = f"{SECRET_ID}/{date}/iai/tc3_request"
    assert whole == (
        f"TC3-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host, Signature={expected}"
    )
