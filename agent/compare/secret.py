"""Reader of the API secret. Each signature reads the file again, so a rotated key needs no restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.config.file import BYTE_ORDER_MARKS
from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.safe_open import read_plain
from agent.texts import Text

_MAX_BYTES = 4_096


def from_file(path: Path) -> Callable[[], bytes]:
    """A function that returns the secret without leading and trailing white space.

    ``CompareError`` (``compare_credentials``): the file is unreadable, empty or too long.
    """

    def read() -> bytes:
        try:
            secret = read_plain(path, _MAX_BYTES, links=True).strip()
            if secret.startswith(BYTE_ORDER_MARKS):
                raise ValueError("begins with a byte order mark")
            if not secret:
                raise ValueError("empty")
        except (OSError, ValueError) as error:
            why = f"API secret {path}: {getattr(error, 'strerror', None) or error}"
            fix = Text("fix.api_secret_unusable")
            raise CompareError(why, code=Reason.COMPARE_CREDENTIALS, fix=fix) from error
        return secret

    return read
