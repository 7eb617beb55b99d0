"""Fields of a JSON object of a till, each checked by the rules of the schema in the contract. Pure.

Every function raises ``Rejected`` with ``request_malformed`` and the name of the field.
"""

import base64
import binascii
import hashlib
import re
from typing import Any
from uuid import UUID

from agent.core.model import Reference
from agent.core.reasons import Refusal

IMAGE_MAX_BYTES = 60_000
URL_MAX_CHARS = 2_048
NONCE_MIN_CHARS, NONCE_MAX_CHARS = 22, 128  # 22 characters of base64url carry 128 bits
TEXT_MAX_CHARS = 128
LIST_MAX = 16  # entries of a list of texts

_NONCE = re.compile(r"[A-Za-z0-9_\-=+/.]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# C0, DEL, C1; lone surrogates, which UTF-8 excludes
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Rejected(Exception):
    """A message was rejected. ``request_id`` is None when it could not be read."""

    def __init__(self, refusal: Refusal, detail: str, request_id: str | None = None) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail
        self.request_id = request_id


def malformed(detail: str) -> Rejected:
    return Rejected(Refusal.REQUEST_MALFORMED, detail)


def text_of(tree: dict[str, Any], name: str, longest: int = TEXT_MAX_CHARS) -> str:
    """A text of 1 to ``longest`` characters. Control characters only in the text of an envelope."""
    value = tree.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise malformed(f"{name}: text of 1 to {longest} characters")
    if longest <= URL_MAX_CHARS and _CONTROL.search(value):
        raise malformed(f"{name}: control characters")
    return value


def strings_of(tree: dict[str, Any], name: str) -> list[str]:
    """A list of at most ``LIST_MAX`` texts; a missing field is an empty list."""
    values = tree.get(name, [])
    if not isinstance(values, list) or len(values) > LIST_MAX:
        raise malformed(f"{name}: a list of at most {LIST_MAX} texts")
    if not all(isinstance(v, str) and len(v) <= TEXT_MAX_CHARS and not _CONTROL.search(v) for v in values):
        raise malformed(f"{name}: a list of texts of at most {TEXT_MAX_CHARS} characters")
    return values


def nonce_of(tree: dict[str, Any]) -> str:
    nonce = text_of(tree, "nonce", NONCE_MAX_CHARS)
    if len(nonce) < NONCE_MIN_CHARS or not _NONCE.fullmatch(nonce):
        raise malformed("nonce: at least 128 random bits, as hex or base64")
    return nonce


def integer_of(tree: dict[str, Any], name: str, low: int, high: int) -> int:
    value = tree.get(name)
    if isinstance(value, float) and value.is_integer():  # 8000.0 is an integer of JSON Schema
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise malformed(f"{name}: a whole number of {low} to {high}")
    return value


def uuid_of(tree: dict[str, Any], name: str) -> str:
    value = tree.get(name)
    try:
        if isinstance(value, str) and str(UUID(value)) == value:
            return value
    except ValueError:
        pass
    raise malformed(f"{name}: a UUID in the lower-case form with hyphens")


def reference_of(tree: object) -> Reference:
    """The reference photo: its url, or its decoded bytes when they have the SHA-256 of the field."""
    if not isinstance(tree, dict):
        raise malformed("reference: an object with url or image_b64")
    if ("url" in tree) == ("image_b64" in tree):
        raise malformed("reference: exactly one of url and image_b64")
    sha256 = tree.get("sha256")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise malformed("reference.sha256: 64 lower-case hex digits")
    if "url" in tree:
        return Reference(url=text_of(tree, "url", URL_MAX_CHARS), sha256=sha256)
    encoded = tree["image_b64"]
    if not isinstance(encoded, str) or not 0 < len(encoded) <= IMAGE_MAX_BYTES * 4 // 3 + 4:
        raise malformed(f"reference.image_b64: base64 of at most {IMAGE_MAX_BYTES} bytes")
    try:
        image = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("reference.image_b64: not base64") from error
    if hashlib.sha256(image).hexdigest() != sha256:
        raise malformed("reference.sha256 differs from the SHA-256 of image_b64")
    return Reference(image=image, sha256=sha256)
