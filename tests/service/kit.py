"""The service on a free port, and requests in the form of real clients."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.resources import config_file
from agent.service.compare_service import CompareService
from agent.service.faults import parse_fault
from agent.service.settings import EXAMPLE_SECRET, AccountConfig, ServiceConfig, load_service
from tests.fakes import RealClock

APPID, SECRET_ID, BUCKET = "1250000001", "AKIDEXAMPLEEXAMPLEEXAMPLE", "terminals"


def slow_machine_config(**changes: Any) -> ServiceConfig:
    """The shipped config on a free port, with 60 s in place of 2 s for an answer, and ``changes``."""
    config = load_service(config_file("service.toml"), port=0)
    return config.model_copy(update={"answer_within_ms": 60_000, **changes})


def account(secret_id: str, **more: Any) -> AccountConfig:
    keys = {"appid": APPID, "example": True, "rate_per_s": 1_000, "burst": 1_000}
    return AccountConfig.model_validate({**keys, "secret_id": secret_id, **more})


@contextlib.contextmanager
def running(config: ServiceConfig, *faults: str) -> Iterator[CompareService]:
    """The service in a separate thread, for synchronous and async tests."""
    service = CompareService(config, faults=tuple(parse_fault(text) for text in faults))
    asyncio.run(service.start())
    try:
        yield service
    finally:
        asyncio.run(service.stop())


def sign(
    *,
    appid: str = APPID,
    secret_id: str = SECRET_ID,
    bucket: str = BUCKET,
    key: bytes = EXAMPLE_SECRET,
    age_s: int = 0,
    nonce: int = 1,
) -> str:
    """A header in the field order of the Node client, independent of the code under test."""
    now_s = int(time.time()) - age_s
    text = f"a={appid}&k={secret_id}&e={now_s + 60}&t={now_s}&r={nonce}&u=0&f=&b={bucket}".encode()
    return base64.b64encode(hmac.new(key, text, hashlib.sha1).digest() + text).decode()


def post(
    service: CompareService, *, authorization: str | None = None, trust: Path | bool = True, **request: Any
) -> dict[str, Any]:
    """POST and decode the answer; asserts HTTP 200 with JSON."""
    headers = {"Authorization": sign() if authorization is None else authorization}
    headers.update(request.pop("headers", {}))
    is_tls = service.url.startswith("https:")  # without TLS, no certificates are loaded: 20 ms of CPU
    verify: Any = is_tls and (str(trust) if isinstance(trust, Path) else trust)
    with httpx.Client(trust_env=False, timeout=120, verify=verify) as http:
        response = http.post(service.url, headers=headers, **request)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer: dict[str, Any] = response.json()
    assert set(answer) == {"data", "code", "message"}
    assert isinstance(answer["data"]["session_id"], str)
    return answer


def files(first: bytes, second: bytes) -> dict[str, Any]:
    return {
        "data": {"appid": APPID},
        "files": {"imageA": ("a.jpg", first, "image/jpeg"), "imageB": ("b.jpg", second, "image/jpeg")},
    }


def code(answer: dict[str, Any]) -> tuple[int, int | None]:
    return answer["code"], answer["data"].get("fail_flag")


def client(url: str, *, clock: RealClock | None = None, **more: Any) -> FaceCompare2018:
    """The client of this package with the example account."""
    config = CompareConfig.model_validate(
        {"url": url, "appid": APPID, "secret_id": SECRET_ID, "bucket": BUCKET, **more}
    )
    return FaceCompare2018(config, EXAMPLE_SECRET, clock or RealClock(), profile="demo")
