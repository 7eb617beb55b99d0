"""HTTP request bodies, byte for byte as real clients send them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

BOUNDARY = "--------------acebdf13572468"
# The header text after "Content-Disposition: form-data; " up to the empty line, and the value.
Part = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class RequestBody:
    content: bytes = field(repr=False)
    content_type: str  # empty: no Content-Type header


def text(name: str, value: str, more: str = "") -> Part:
    return f'name="{name}"{more}', value.encode()


def image(name: str, value: bytes, more: str = '; filename="photo.jpg"\r\nContent-Type: image/jpeg') -> Part:
    return f'name="{name}"{more}', value


def multipart(*parts: Part, content_type: str = f"multipart/form-data;boundary={BOUNDARY}") -> RequestBody:
    content = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    return RequestBody(content + f"--{BOUNDARY}--\r\n".encode(), content_type)


def json_body(fields: dict[str, object], content_type: str = "application/json") -> RequestBody:
    return RequestBody(json.dumps(fields).encode(), content_type)
