"""A till's new request as a JSON object, and the size limits that the till checks before sending."""

import base64
import hashlib
import secrets
import time
import uuid
from typing import Any

from agent.errors import TillError
from agent.messages.fields import IMAGE_MAX_BYTES
from agent.texts import Text


def reference_of(photo: bytes | str, sha256: str | None) -> dict[str, str]:
    """The ``reference`` field. Raises ``TillError``: url without ``sha256``, or photo too large."""
    if isinstance(photo, str):
        if sha256 is None:
            raise TillError(Text("detail.photo_needs_sha256"), code="request_malformed")
        return {"url": photo, "sha256": sha256}
    if len(photo) > IMAGE_MAX_BYTES:
        raise _too_large(Text("detail.photo_bytes", size=len(photo), most=IMAGE_MAX_BYTES))
    return {"image_b64": base64.b64encode(photo).decode(), "sha256": hashlib.sha256(photo).hexdigest()}


def new_request(
    address: dict[str, str], epoch: str, ttl_ms: int, reference: dict[str, str]
) -> dict[str, Any]:
    """The fields of a request with a new id and nonce; ``sent_at_ms`` is now."""
    request_id = str(uuid.uuid4())
    return {
        "schema": "facepay.request/1",
        "request_id": request_id,
        **address,
        "transaction_id": f"sale-{request_id[:8]}",
        "nonce": secrets.token_hex(16),
        "epoch": epoch,
        "sent_at_ms": time.time_ns() // 1_000_000,
        "ttl_ms": ttl_ms,
        "reference": reference,
    }


def check_size(size: int, state: dict[str, Any]) -> None:
    """Raises ``TillError`` (``request_too_large``): ``size`` bytes are over the limit in ``state``."""
    limits = state.get("limits")
    most = limits.get("request_max_bytes") if isinstance(limits, dict) else None
    if isinstance(most, int) and size > most:
        raise _too_large(Text("detail.request_bytes", size=size, most=most))


def _too_large(why: Text) -> TillError:
    fix = Text("fix.photo_too_large", image_max_bytes=IMAGE_MAX_BYTES)
    return TillError(why, code="request_too_large", fix=fix)
