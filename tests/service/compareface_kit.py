"""Requests of CompareFace, signed without the code under test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx

from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET
from tests.service.kit import SECRET_ID


def base_url(service: CompareService) -> str:
    return service.url.removesuffix("/face/compare")


def signed_headers(
    url: str,
    body: bytes,
    *,
    secret_id: str = SECRET_ID,
    key: bytes = EXAMPLE_SECRET,
    age_s: int = 0,
    date: str | None = None,
    scope: str = "iai/tc3_request",
    more: dict[str, str] | None = None,
) -> dict[str, str]:
    """Headers as the provider's page describes; ``more``: further headers, signed."""
    now_s = int(time.time()) - age_s
    day = date or f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}"
    signed = {"content-type": "application/json", "host": url.split("/")[2], **(more or {})}
    lines = "".join(f"{name}:{value.lower()}\n" for name, value in signed.items())
    names = ";".join(signed)
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"TC3-HMAC-SHA256\n{now_s}\n{day}/{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    derived = b"TC3" + key
    for step in (day, *scope.split("/")):
        derived = hmac.digest(derived, step.encode(), "sha256")
    signature = hmac.digest(derived, text.encode(), "sha256").hex()
    return {
        "Authorization": f"TC3-HMAC-SHA256 Credential={secret_id}/{day}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}",
        "Content-Type": "application/json",
        "X-TC-Action": "CompareFace",
        "X-TC-Version": "2020-03-03",
        "X-TC-Timestamp": str(now_s),
        **(more or {}),
    }


def fields(first: bytes, second: bytes, **more: object) -> dict[str, object]:
    pictures = {"ImageA": base64.b64encode(first).decode(), "ImageB": base64.b64encode(second).decode()}
    return {**pictures, **more}


def call(
    service: CompareService,
    body: bytes | dict[str, object],
    headers: dict[str, str] | None = None,
    **signing: Any,
) -> dict[str, Any]:
    """POST and decode ``Response``; asserts HTTP 200. ``headers`` replace signed ones; empty: without it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = base_url(service)
    sent = {**signed_headers(url, content, **signing), **(headers or {})}
    with httpx.Client(trust_env=False, timeout=20) as http:
        reply = http.post(url, content=content, headers={k: v for k, v in sent.items() if v})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    tree: dict[str, Any] = reply.json()
    assert set(tree) == {"Response"}
    answer: dict[str, Any] = tree["Response"]
    assert isinstance(answer["RequestId"], str) and len(answer["RequestId"]) == 32
    assert set(answer) in ({"Score", "FaceModelVersion", "RequestId"}, {"Error", "RequestId"})
    return answer


def error(answer: dict[str, Any]) -> str:
    assert "Error" in answer, answer
    return str(answer["Error"]["Code"])
