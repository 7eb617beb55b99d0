"""Valid requests of a till; each field can be replaced."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

PHOTO = b"\xff\xd8\xff\xe0 an enrolled photo \xff\xd9"
PHOTO_SHA256 = hashlib.sha256(PHOTO).hexdigest()
REQUEST_ID = "6f1c8a52-7d0e-4b53-9a41-0c9de3a0b111"


def tree(**changes: Any) -> dict[str, Any]:
    """A valid request with changed fields; ``None`` removes a field."""
    fields: dict[str, Any] = {
        "schema": "facepay.request/1",
        "request_id": REQUEST_ID,
        "till": "till-1",
        "transaction_id": "sale-4711",
        "nonce": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "epoch": "e-1",
        "ttl_ms": 8_000,
        "reference": {"image_b64": base64.b64encode(PHOTO).decode(), "sha256": PHOTO_SHA256},
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not None}


def payload(**changes: Any) -> bytes:
    return json.dumps(tree(**changes)).encode()


def fresh_id() -> str:
    return str(uuid.uuid4())
