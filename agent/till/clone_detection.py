"""Detects another terminal that uses the same site and terminal id, by the retained ``state``."""

from __future__ import annotations

from collections.abc import Collection

from agent.core import strict_json
from agent.messages.encode import TerminalIdentity

STATE_MAX_BYTES = 65_536


def is_clone(raw: bytes, own: TerminalIdentity, fingerprints: Collection[str]) -> bool:
    """Whether ``raw`` is the ``state`` of another running terminal with the same ids.

    A ``state`` of an earlier process of this terminal is not a clone: that process ran in the same boot, or
    signed with one of our ``fingerprints`` (SHA-256 of the keys, the key before a rotation included). A
    copied key is not detected here but in ``fleet/machine.py``. Anything but a valid ``state`` is no clone.
    """
    try:
        tree = strict_json.loads(raw) if len(raw) <= STATE_MAX_BYTES else None
    except ValueError:
        return False
    if not isinstance(tree, dict) or tree.get("status") not in ("online", "degraded"):
        return False
    key = tree.get("key")
    fingerprint = key.get("sha256") if isinstance(key, dict) else None
    if not isinstance(fingerprint, str) or fingerprint in fingerprints:
        return False
    return tree.get("epoch") != own.epoch and tree.get("boot_id") != own.boot_id
