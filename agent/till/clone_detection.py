"""Does another terminal speak under our name? Its retained ``state`` on our own topic tells."""

from __future__ import annotations

from collections.abc import Collection

from agent.core import strict_json
from agent.messages.encode import TerminalIdentity

STATE_MAX_BYTES = 65_536


def is_another(raw: bytes, who: TerminalIdentity, fingerprints: Collection[str]) -> bool:
    """Whether this ``state`` is that of a living terminal which is not this one.

    Our own of an earlier process is no stranger's: it ran in the same boot, or signed with one of our
    ``fingerprints`` (SHA-256 of the keys, the one before a rotation included). A copy of the key itself
    cannot be told here; ``fleet/machine.py`` tells it.
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
    return tree.get("epoch") != who.epoch and tree.get("boot_id") != who.boot_id
