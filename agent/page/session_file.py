"""The sessions of the page on disk, so that a login survives a restart of the agent.

The file holds nothing that opens the page: of each session a keyed digest of its cookie, which is a random
number of 256 bits, and its end. The key is derived from the token, so another token ends all sessions. The
end is a time of the boot clock, which no change of the wall clock moves; a boot ends all sessions.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.core import strict_json
from agent.log import facts
from agent.safe_open import read_plain
from agent.safe_write import write_whole

log = logging.getLogger(__name__)

FILE = "page-sessions.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class SavedSessions:
    """``cookie``: the name of the cookie. ``ends_s``: digest -> end on the boot clock, oldest first."""

    cookie: str
    ends_s: Mapping[bytes, float]


class SessionFile:
    """The file in the state directory. No failure is raised: without the file a restart ends the sessions."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        """``boot_id``: of the present boot, see ``read_boot_id``."""
        self._path = directory / FILE
        self._boot_id = boot_id

    def read(self) -> SavedSessions | None:
        """The sessions of this boot; None without a usable file."""
        try:
            tree = strict_json.loads(read_plain(self._path, _MAX_BYTES))
            if not isinstance(tree, dict) or tree["boot_id"] != self._boot_id:
                return None
            ends_s = {bytes.fromhex(digest): float(end_s) for digest, end_s in tree["ends_s"].items()}
            return SavedSessions(str(tree["cookie"]), ends_s)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("page_sessions_unusable", extra=facts(why=error))
            return None

    def write(self, saved: SavedSessions) -> None:
        """Replace the file in one step, with mode 0600. Blocks for a disk access."""
        ends_s = {digest.hex(): end_s for digest, end_s in saved.ends_s.items()}
        text = json.dumps({"boot_id": self._boot_id, "cookie": saved.cookie, "ends_s": ends_s})
        try:
            write_whole(self._path, text.encode())
        except OSError as error:
            log.warning("page_sessions_not_saved", extra=facts(why=error))


def read_boot_id() -> str:
    """The kernel's id of this boot; empty where it cannot be read."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
