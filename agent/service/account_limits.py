"""What an account may use: calls at its rate, and each signature once. In this process, or shared.

``LocalLimits`` belongs to one process. ``agent.service.shared_limits`` keeps the same facts in a store for
all machines of a cluster.
"""

import bisect
import heapq
import sys
import time
from typing import Protocol

from agent.compare.contract import ApiFailure
from agent.core.rate import TokenBucket
from agent.service.causes import Cause
from agent.service.settings import AccountConfig

EXPIRED, REPLAY, TOO_OFTEN = 9, 13, 15
_NEVER_S = sys.maxsize
_JOINED_S, _RANGES_MAX = 300, 1_000
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


class LocalLimits:
    """A token bucket per appid, and the signatures of single-use accounts."""

    def __init__(self) -> None:
        self._used: dict[str, UsedSignatures] = {}  # by secret id, single_use accounts only
        self._rates: dict[str, tuple[float, int, TokenBucket]] = {}  # by appid: rate, burst, bucket

    def replace(self, accounts: tuple[AccountConfig, ...]) -> None:
        now_s, previous_rates = time.monotonic(), self._rates
        self._rates = {}
        for account in accounts:
            rate, burst, bucket = previous_rates.get(account.appid, (0.0, 0, None))
            if bucket is None or (rate, burst) != (account.rate_per_s, account.burst):
                bucket = TokenBucket(account.rate_per_s, account.burst, now_s)
            self._rates[account.appid] = (account.rate_per_s, account.burst, bucket)

    async def take(self, account: AccountConfig, digest: bytes, expires_s: int, now_s: float) -> None:
        used = self._used.setdefault(account.secret_id, UsedSignatures()) if account.single_use else None
        if used is not None and digest in used:
            raise ApiFailure(REPLAY)
        if used is not None and used.may_have_been_removed(expires_s):
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

    def __init__(self, max_entries: int = USED_MAX) -> None:
        self._max_entries = max_entries
        self._digests: set[bytes] = set()
        self._expiry_heap: list[tuple[int, bytes]] = []  # heap by expiry
        self._removed_expiries = ExpiryRanges()

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def may_have_been_removed(self, expires_s: int) -> bool:
        """Whether an entry with this expiry can have been removed.

        True for a signature that has not expired only after the clock was set back: it could have been used.
        """
        return expires_s in self._removed_expiries

    def has_room(self, now_s: float) -> bool:
        """Remove the expired entries, then report whether one more fits."""
        while self._expiry_heap and self._expiry_heap[0][0] < now_s:
            expires_s, digest = heapq.heappop(self._expiry_heap)
            self._removed_expiries.add(expires_s)
            self._digests.discard(digest)
        return len(self._digests) < self._max_entries

    def add(self, digest: bytes, expires_s: int) -> None:
        """Store a new digest. ``has_room`` was true."""
        self._digests.add(digest)
        heapq.heappush(self._expiry_heap, (expires_s, digest))


class ExpiryRanges:
    """A set of expiry times, stored as at most 1 000 ranges. Above that, the two earliest ranges are joined.

    Each added expiry is in the set. An expiry between two joined ranges is in the set without being added: it
    belongs to a signature that has expired anyway. One range alone would not do. A clock that was wrong and
    was set back would leave a range from the present to the wrong future, and all new signatures are in it.
    """

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []  # sorted, disjoint, both ends included

    def __contains__(self, expires_s: int) -> bool:
        index = bisect.bisect(self._ranges, (expires_s, _NEVER_S))
        return index > 0 and expires_s <= self._ranges[index - 1][1]

    def add(self, expires_s: int) -> None:
        if expires_s in self:
            return
        index = bisect.bisect(self._ranges, (expires_s, expires_s))
        self._ranges.insert(index, (expires_s, expires_s))
        for index_of_pair in (index, index - 1):
            if 0 <= index_of_pair < len(self._ranges) - 1:
                (_, end_s), (begin_s, _) = self._ranges[index_of_pair : index_of_pair + 2]
                if begin_s - end_s <= _JOINED_S:
                    self._join_ranges(index_of_pair)
        if len(self._ranges) > _RANGES_MAX:
            self._join_ranges(0)

    def _join_ranges(self, index_of_pair: int) -> None:
        (begin_s, _), (_, end_s) = self._ranges[index_of_pair : index_of_pair + 2]
        self._ranges[index_of_pair : index_of_pair + 2] = [(begin_s, end_s)]
