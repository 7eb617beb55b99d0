"""The key of the payer's screen, and the start page that carries the key to the kiosk browser.

Each user of a machine can connect to its loopback, and not each of them may see the payers. So the stream
needs a key. The start page is a file of the agent's state directory, mode 0600: systemd passes the file to
the unit of the browser as a credential. The key follows the ``#``: a browser sends it in no request line.
"""

import hmac
import re
import secrets
from pathlib import Path

from agent.errors import StorageError, failure_at
from agent.safe_open import read_plain
from agent.safe_write import write_whole

FILE = "display.html"
_MAX_BYTES = 4_096
_KEY = re.compile(r"#([A-Za-z0-9_-]{32,64})\"")
_START_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>facepay</title>
<meta http-equiv="refresh" content="0; url=http://127.0.0.1:{port}/#{key}">
</html>
"""


class DisplayKey:
    """A random key that stays the same, so that a restart of the agent needs no restart of the browser."""

    def __init__(self, directory: Path) -> None:
        """Read the key of an earlier start page, or make a key. Blocks for a disk access."""
        self._path = directory / FILE
        self._key = _read(self._path) or secrets.token_urlsafe(32)

    def write(self, port: int) -> None:
        """Write the start page. Blocks for a disk access. Raises ``StorageError``."""
        page = _START_PAGE.format(port=port, key=self._key).encode()
        try:
            write_whole(self._path, page)
        except OSError as error:
            raise StorageError(failure_at(self._path, error)) from error

    def opens(self, authorization: str) -> bool:
        """Whether an ``Authorization`` header has the key; compared in constant time."""
        return hmac.compare_digest(authorization.encode(), f"Bearer {self._key}".encode())


def _read(path: Path) -> str | None:
    try:
        match = _KEY.search(read_plain(path, _MAX_BYTES).decode("utf-8", "replace"))
    except OSError:
        return None
    return None if match is None else match[1]
