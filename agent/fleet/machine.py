"""Which machine this is: its id for a fleet, and whether a state directory was made on it.

A card that was copied carries the keys of the first terminal. The state directory remembers the machine it
was made on; on another one that is a condition, not an end: a repaired terminal must be able to serve.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

from agent.fleet.files import write_whole
from agent.log import facts
from agent.safe_open import read_plain

log = logging.getLogger(__name__)

FILE = "machine"
_SERIAL = "proc/device-tree/serial-number"  # a Raspberry Pi's, burnt in; ends with a zero byte
_MACHINE_ID = "etc/machine-id"  # machine-id(5): not to be shown as it is
_ROOT = Path("/")
_MADE_ON_MAX_BYTES = 4_096


def serial(root: Path = _ROOT) -> str:
    """The board's serial number in lower-case hex; empty where there is none."""
    found = _read(root / _SERIAL).lower()
    return found if re.fullmatch(r"[0-9a-f]{8,32}", found) and found.strip("0") else ""


def terminal_id(root: Path = _ROOT) -> str:
    """An id for topics and certificates that stays the same; empty when this machine has none."""
    number = serial(root)
    if number:
        return f"pi-{number}"
    own = _machine_id(root)
    return f"t-{hashlib.sha256(f'facepay {own}'.encode()).hexdigest()[:16]}" if own else ""


def fingerprint(root: Path = _ROOT) -> str:
    """SHA-256 of the serial number, or of the machine id where there is none; empty: not known.

    With a serial number the machine id does not count: another slot of an A/B image has another one.
    """
    known = serial(root) or _machine_id(root)
    return hashlib.sha256(f"facepay machine {known}".encode()).hexdigest() if known else ""


def belongs_here(directory: Path, root: Path = _ROOT) -> bool:
    """Whether the state in ``directory`` was made on this machine; the first question settles it."""
    now = fingerprint(root)
    try:
        made_on = _made_on(directory / FILE)
        if now and not made_on:
            bind(directory, root)
    except (OSError, UnicodeDecodeError) as error:
        log.warning("machine_unknown", extra=facts(why=error))
        return True
    return not now or not made_on or made_on == now


def bind(directory: Path, root: Path = _ROOT) -> None:
    """From now on the state in ``directory`` is this machine's. Raises ``OSError``."""
    write_whole(directory / FILE, fingerprint(root).encode(), mode=0o600, like=directory / FILE)


def _made_on(file: Path) -> str:
    """Empty: nobody has said yet. Raises ``OSError``, ``UnicodeDecodeError``."""
    try:
        return read_plain(file, _MADE_ON_MAX_BYTES)[:64].decode()
    except FileNotFoundError:
        return ""


def _machine_id(root: Path) -> str:
    """32 hex digits; empty where there is none. A fresh image has ``uninitialized`` there: not an id."""
    found = _read(root / _MACHINE_ID).lower()
    return found if re.fullmatch(r"[0-9a-f]{32}", found) and found.strip("0") else ""


def _read(path: Path) -> str:
    try:
        return path.read_bytes()[:128].decode("ascii").strip("\0\n \t")
    except (OSError, UnicodeDecodeError):
        return ""
