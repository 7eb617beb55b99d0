"""The golden signatures as values."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vector:
    name: str
    now_s: int
    authorization: str
    code: int
    plaintext: str = ""


def _load() -> tuple[dict[str, str], list[Vector]]:
    tree = tomllib.loads((Path(__file__).parent / "data" / "signatures.toml").read_text(encoding="utf-8"))
    return tree["account"], [Vector(**row) for row in tree["vector"]]


ACCOUNT, VECTORS = _load()
SECRET = ACCOUNT["secret_key"].encode()
