"""The identity of the machine: its id in a fleet, and whether a state directory was created on this machine.

A copied SD card has the keys of the first terminal. The state directory stores the fingerprint of its
machine. On another machine the agent reports a condition and still serves: a repaired terminal must work.
"""

import hashlib
import logging
import re
from pathlib import Path

from agent.log import facts
from agent.safe_open import read_plain
from agent.safe_write import write_whole

log = logging.getLogger(__name__)

FILE = "machine"
_SERIAL = "proc/device-tree/serial-number"  # of a Raspberry Pi, fixed; ends with a zero byte
_MACHINE_ID = "etc/machine-id"  # machine-id(5): must not be published unhashed
_ROOT = Path("/")
_MADE_ON_MAX_BYTES = 4_096


def serial_number(root: Path = _ROOT) -> str:
    """The board's serial number in lower-case hex; empty: no serial number."""
    return _hex(root / _SERIAL, "8,32")


def terminal_id(root: Path = _ROOT) -> str:
    """A stable id for topics and certificates; empty: neither serial number nor machine id."""
    board_serial = serial_number(root)
    if board_serial:
        return f"pi-{board_serial}"
    identity = _machine_id(root)
    return f"t-{hashlib.sha256(f'facepay {identity}'.encode()).hexdigest()[:16]}" if identity else ""


def fingerprint(root: Path = _ROOT) -> str:
    """SHA-256 of the serial number, else of the machine id; empty: unknown.

    With a serial number the machine id is ignored: each slot of an A/B image has a different machine id.
    """
    identity = serial_number(root) or _machine_id(root)
    return hashlib.sha256(f"facepay machine {identity}".encode()).hexdigest() if identity else ""


def is_of_this_machine(directory: Path, root: Path = _ROOT) -> bool:
    """Whether the state in ``directory`` is of this machine; the first call stores the fingerprint."""
    current = fingerprint(root)
    try:
        made_on = _made_on(directory / FILE)
        if current and not made_on:
            bind_to_machine(directory, root)
    except (OSError, UnicodeDecodeError) as error:
        log.warning("machine_unknown", extra=facts(why=error))
        return True
    return not current or not made_on or made_on == current


def bind_to_machine(directory: Path, root: Path = _ROOT) -> None:
    """Store this machine's fingerprint in ``directory``. Raises ``OSError``."""
    write_whole(directory / FILE, fingerprint(root).encode(), like=directory / FILE)


def _made_on(file: Path) -> str:
    """The stored fingerprint; empty: not stored. Raises ``OSError``, ``UnicodeDecodeError``."""
    try:
        return read_plain(file, _MADE_ON_MAX_BYTES)[:64].decode()
    except FileNotFoundError:
        return ""


def _machine_id(root: Path) -> str:
    """32 hex digits; empty: no id. A new image contains ``uninitialized``, which is not an id."""
    return _hex(root / _MACHINE_ID, "32")


def _hex(path: Path, digits: str) -> str:
    """The hex digits in a file, lower-case; empty: unreadable, not so many digits, or only zeros."""
    try:
        text = path.read_bytes()[:128].decode("ascii").strip("\0\n \t").lower()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if re.fullmatch(rf"[0-9a-f]{{{digits}}}", text) and text.strip("0") else ""
