"""HTTP request bodies, byte for byte as real clients send them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

BOUNDARY = "--------------acebdf13572468"
JPEG_FILE = '; filename="photo.jpg"\r\nContent-Type: image/jpeg'
# The header text after "Content-Disposition: form-data; " up to the empty line, and the value.
Part = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class RequestBody:
    content: bytes = field(repr=False)
    content_type: str  # empty: no Content-Type header


def part(name: str, value: str | bytes, more: str = "") -> Part:
    return f'name="{name}"{more}', value.encode() if isinstance(value, str) else value


def multipart(*parts: Part, content_type: str = f"multipart/form-data;boundary={BOUNDARY}") -> RequestBody:
    content = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    return RequestBody(content + f"--{BOUNDARY}--\r\n".encode(), content_type)


def json_body(fields: dict[str, object], content_type: str = "application/json") -> RequestBody:
    return RequestBody(json.dumps(fields).encode(), content_type)
