"""Reader of the API secret. Each signature reads the file again, so a rotated key needs no restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.texts import Text

_MAX_BYTES = 4_096


def from_file(path: Path) -> Callable[[], bytes]:
    """A function that returns the secret without leading and trailing white space.

    ``CompareError`` (``compare_credentials``): the file is unreadable, empty or too long.
    """

    def read() -> bytes:
        try:
            with path.open("rb") as file:
                secret = file.read(_MAX_BYTES + 1).strip()
        except OSError as error:
            raise _unusable(path, error.strerror or type(error).__name__) from error
        if not secret or len(secret) > _MAX_BYTES:
            raise _unusable(path, "empty or too long")
        return secret

    return read


def _unusable(path: Path, detail: str) -> CompareError:
    return CompareError(
        f"API secret {path}: {detail}", code=Reason.COMPARE_CREDENTIALS, fix=Text("fix.api_secret_unusable")
    )
