"""What an account may use: calls at its rate, and each signature once. In this process, or shared.

``MemoryLimits`` belongs to one process. ``agent.service.shared_limits`` keeps the same facts in a store for
all machines of a cluster.
"""

import heapq
import time
from typing import Protocol

from agent.compare.contract import ApiFailure
from agent.core.rate import TokenBucket
from agent.service.causes import Cause
from agent.service.settings import AccountConfig

EXPIRED, REPLAY, TOO_OFTEN = 9, 13, 15
USED_MAX = 100_000  # entries of one account: 15 MB, or an hour of signatures at 28 requests per second


class AccountLimits(Protocol):
    def replace(self, accounts: tuple[AccountConfig, ...]) -> None:
        """Use these accounts from now on. Used signatures stay used; an unchanged rate keeps its tokens."""
        ...

    async def take(self, account: AccountConfig, digest: bytes, expires_s: int, now_s: float) -> None:
        """Use one call of the account, and the signature of a single-use account. Times in unix seconds.

        Raises:
            ApiFailure: 13, the signature was used; 15, no call is left; 9, the signature has expired by the
                clock of a shared store, or by this clock before it was set back. None of them uses anything.
        """
        ...

    async def close(self) -> None: ...


class MemoryLimits:
    """A token bucket per appid, and the signatures of single-use accounts."""

    def __init__(self) -> None:
        self._used: dict[str, UsedSignatures] = {}  # by secret id, single_use accounts only
        self._rates: dict[str, tuple[float, int, TokenBucket]] = {}  # by appid: rate, burst, bucket

    def replace(self, accounts: tuple[AccountConfig, ...]) -> None:
        now_s, before = time.monotonic(), self._rates
        self._rates = {}
        for each in accounts:
            rate, burst, bucket = before.get(each.appid, (0.0, 0, None))
            if bucket is None or (rate, burst) != (each.rate_per_s, each.burst):
                bucket = TokenBucket(each.rate_per_s, each.burst, now_s)
            self._rates[each.appid] = (each.rate_per_s, each.burst, bucket)

    async def take(self, account: AccountConfig, digest: bytes, expires_s: int, now_s: float) -> None:
        used = self._used.setdefault(account.secret_id, UsedSignatures()) if account.single_use else None
        if used is not None and digest in used:
            raise ApiFailure(REPLAY)
        if used is not None and used.is_forgotten(expires_s):
            raise ApiFailure(EXPIRED, "expired before the clock was set back", cause=Cause.EXPIRED)
        if used is not None and not used.has_room(now_s):
            why = "too many signatures that have not expired"
            raise ApiFailure(TOO_OFTEN, why, cause=Cause.SIGNATURES_FULL)
        if not self._rates[account.appid][2].take(time.monotonic()):
            raise ApiFailure(TOO_OFTEN, cause=Cause.ACCOUNT_RATE)
        if used is not None:
            used.add(digest, expires_s)

    async def close(self) -> None:
        """Nothing is open."""


class UsedSignatures:
    """Digests of the single-use signatures of one account, bounded. Times in unix seconds.

    An entry is removed after the expiry of its signature, because an expired signature is refused anyway. A
    full memory refuses new signatures: a removed signature that has not expired could be used twice.
    """

    def __init__(self, most: int = USED_MAX) -> None:
        self._most = most
        self._digests: set[bytes] = set()
        self._ends: list[tuple[int, bytes]] = []  # heap by expiry
        self._removed_s = 0  # latest expiry of a removed entry

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def is_forgotten(self, expires_s: int) -> bool:
        """Whether an entry with this expiry can have been removed.

        True for a signature that has not expired only after the clock was set back: it could have been used.
        """
        return expires_s <= self._removed_s

    def has_room(self, now_s: float) -> bool:
        """Remove the expired entries, then report whether one more fits."""
        while self._ends and self._ends[0][0] < now_s:
            self._removed_s, digest = heapq.heappop(self._ends)
            self._digests.discard(digest)
        return len(self._digests) < self._most

    def add(self, digest: bytes, expires_s: int) -> None:
        """Store a new digest. ``has_room`` was true."""
        self._digests.add(digest)
        heapq.heappush(self._ends, (expires_s, digest))
