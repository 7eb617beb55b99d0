"""Memory of single-use signatures: bounded, and without a search through all entries. Pure.

An entry is removed after the expiry of its signature, because an expired signature is refused anyway. A
full memory refuses new signatures: a removed signature that has not expired could be used twice.
"""

from __future__ import annotations

import heapq

USED_MAX = 100_000  # entries of one account: 15 MB, or an hour of signatures at 28 requests per second


class UsedSignatures:
    """Digests of one account. Times in unix seconds."""

    def __init__(self, most: int = USED_MAX) -> None:
        self._most = most
        self._digests: set[bytes] = set()
        self._ends: list[tuple[int, bytes]] = []  # heap by expiry

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def has_room(self, now_s: float) -> bool:
        """Remove the expired entries, then report whether one more fits."""
        while self._ends and self._ends[0][0] < now_s:
            self._digests.discard(heapq.heappop(self._ends)[1])
        return len(self._digests) < self._most

    def add(self, digest: bytes, expires_s: int) -> None:
        """Store a new digest. ``has_room`` was true."""
        self._digests.add(digest)
        heapq.heappush(self._ends, (expires_s, digest))
