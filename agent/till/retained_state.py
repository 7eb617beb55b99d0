"""Restores the retained ``state`` of the terminal; detects another terminal with the same site and id by it.

The broker delivers the terminal's own ``state`` back. When another payload is delivered (cleared by an
operator, overwritten, the last will of an older connection), ``state`` is published again after ``SETTLE_S``.
Within that time the deliveries of several publishes in a row arrive; the newest one counts. The number of
repairs is limited, because two terminals with one key would otherwise overwrite each other without end.

The ``state`` of another terminal is replaced less often. So each of two terminals with one name receives the
``state`` of the other one again and again, and reports it. A client without a key can forge such a ``state``,
because nothing proves which key another terminal has. A forgery causes one publish in ten minutes and a
condition for 30 minutes: the terminal serves, and a till uses no ``state`` that its pinned key did not sign.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from agent.core.rate import TokenBucket
from agent.core.strict_json import json_object
from agent.messages.encode import TerminalIdentity

log = logging.getLogger(__name__)

SETTLE_S = 1.0
REPAIRS_PER_S, REPAIRS_BURST = 1 / 60, 3
FOREIGN_REPAIRS_PER_S, FOREIGN_REPAIRS_BURST = 1 / 600, 1
STATE_MAX_BYTES = 65_536


class RetainedState:
    """For the event loop only.

    Args:
        now_s: monotonic seconds.
        is_foreign: whether a ``state`` seems to belong to another terminal.
        repair: publish ``state`` again.
    """

    def __init__(
        self, now_s: Callable[[], float], is_foreign: Callable[[bytes], bool], repair: Callable[[], None]
    ) -> None:
        self._now_s, self._is_foreign, self._repair = now_s, is_foreign, repair
        self._published: bytes | None = None
        self._received: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._repairs = TokenBucket(REPAIRS_PER_S, REPAIRS_BURST, now_s())
        self._foreign_repairs = TokenBucket(FOREIGN_REPAIRS_PER_S, FOREIGN_REPAIRS_BURST, now_s())

    def note_published(self, payload: bytes) -> None:
        """The terminal is about to publish this ``state``."""
        self._published = payload

    def note_received(self, payload: bytes) -> None:
        """The broker delivered this ``state``; empty: it was cleared."""
        self._received = payload
        if payload != self._published and self._timer is None:
            self._schedule(SETTLE_S)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._published is None or self._received in (None, self._published):
            return
        foreign = self._is_foreign(self._received or b"")
        repairs = self._foreign_repairs if foreign else self._repairs
        if repairs.take(self._now_s()):
            log.warning("state_published_again")
            self._repair()
        else:
            self._schedule(1 / REPAIRS_PER_S / 4)


def is_clone(raw: bytes, own: TerminalIdentity, fingerprints: Collection[str]) -> bool:
    """Whether ``raw`` seems to be the ``state`` of another running terminal with the same ids.

    A ``state`` of an earlier process of this terminal is not a clone: that process ran in the same boot, or
    signed with one of our ``fingerprints`` (SHA-256 of the keys, the key before a rotation included). A
    copied key is not detected here but in ``fleet/machine.py``. Anything but a valid ``state`` is no clone.
    No signature is checked: the key of another terminal is not known here.
    """
    tree = json_object(raw) if len(raw) <= STATE_MAX_BYTES else None
    if tree is None or tree.get("status") not in ("online", "degraded"):
        return False
    key = tree.get("key")
    fingerprint = key.get("sha256") if isinstance(key, dict) else None
    if not isinstance(fingerprint, str) or fingerprint in fingerprints:
        return False
    return tree.get("epoch") != own.epoch and tree.get("boot_id") != own.boot_id
