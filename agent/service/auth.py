"""Authentication of API calls. The order of the checks is documented in docs/reference/compare-contract.md.

The header is checked first, alone: no part of a body is parsed before the signature is verified.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

from agent.compare.contract import ApiFailure
from agent.compare.signature import VALIDITY_MAX_S, Signed, is_genuine, parse
from agent.core.rate import TokenBucket
from agent.errors import ConfigError
from agent.service.causes import Cause
from agent.service.settings import AccountConfig

_ACCOUNT, _TARGET, _EXPIRED, _NO_APPID, _NO_SECRET_ID = 3, 6, 9, 10, 11
_NOT_ITS_SECRET_ID, _REPLAY, _FORGED, _TOO_OFTEN, _NO_BUCKET, _NO_KEY = 12, 13, 14, 15, 16, 107
_FUTURE_MAX_S = 300  # accepted clock difference of a signature that is valid for the full 90 days
USED_MAX = 100_000  # entries of one account: 15 MB, or an hour of signatures at 28 requests per second


class Authenticator:
    """Checks signatures. Keeps a token bucket per appid, and the signatures of single-use accounts.

    Args:
        unix_s: the wall clock for signatures.
    """

    def __init__(
        self, accounts: tuple[AccountConfig, ...], *, unix_s: Callable[[], float] = time.time
    ) -> None:
        self._unix_s = unix_s
        self._used: dict[str, UsedSignatures] = {}  # by secret id, single_use accounts only
        self._accounts: dict[str, AccountConfig] = {}
        self._rates: dict[str, TokenBucket] = {}
        self.replace(accounts)

    def replace(self, accounts: tuple[AccountConfig, ...]) -> None:
        """Use these accounts from now on. Used signatures stay used; an unchanged rate keeps its tokens."""
        now_s, before, rates = time.monotonic(), self._accounts, self._rates
        rated = {(each.appid, each.rate_per_s, each.burst) for each in before.values()}
        self._accounts = {account.secret_id: account for account in accounts}
        self._rates = {
            each.appid: rates[each.appid]
            if (each.appid, each.rate_per_s, each.burst) in rated
            else TokenBucket(each.rate_per_s, each.burst, now_s)
            for each in accounts
        }

    def verify(self, header: str) -> Signed:
        """The header with a genuine signature. Raises ``ApiFailure`` 4, 5, 11, 107, 14."""
        signed = parse(header)
        account = self._accounts.get(signed.secret_id)
        if account is None:
            raise ApiFailure(_NO_SECRET_ID)
        if not is_genuine(signed, _key(account)):
            raise ApiFailure(_FORGED)
        return signed

    def permit(self, signed: Signed) -> None:
        """Check whether this signature may be used now. Raises ``ApiFailure`` 9, 3, 13, 15."""
        account = self._accounts[signed.secret_id]
        now_s = self._unix_s()
        if now_s > signed.expires_s:
            raise ApiFailure(_EXPIRED, cause=Cause.EXPIRED)
        if signed.expires_s > now_s + VALIDITY_MAX_S + _FUTURE_MAX_S:
            raise ApiFailure(_EXPIRED, cause=Cause.FAR_FUTURE)
        if account.suspended:
            raise ApiFailure(_ACCOUNT)
        used = self._used.setdefault(account.secret_id, UsedSignatures()) if account.single_use else None
        if used is not None and signed.digest in used:
            raise ApiFailure(_REPLAY)
        if not self._rates[account.appid].take(time.monotonic()):
            raise ApiFailure(_TOO_OFTEN, cause=Cause.ACCOUNT_RATE)
        if used is not None:
            if not used.has_room(now_s):
                raise ApiFailure(
                    _TOO_OFTEN, "too many signatures that have not expired", cause=Cause.SIGNATURES_FULL
                )
            used.add(signed.digest, signed.expires_s)

    def appid_of(self, signed: Signed) -> str:
        """The appid of the account whose key signed. The header can name another appid."""
        account = self._accounts.get(signed.secret_id)
        return account.appid if account else ""

    def check_target(self, signed: Signed, appid: str, bucket: str | None) -> None:
        """Check the header against the body. Raises ``ApiFailure`` 6, 10, 12, 16, in this order."""
        if signed.appid != appid or (signed.bucket and bucket and signed.bucket != bucket):
            raise ApiFailure(_TARGET)
        if signed.appid not in self._rates:
            raise ApiFailure(_NO_APPID)
        account = self._accounts.get(signed.secret_id)
        if account is None:  # removed by a reload since ``admit``
            raise ApiFailure(_NO_SECRET_ID)
        if account.appid != signed.appid:
            raise ApiFailure(_NOT_ITS_SECRET_ID)
        named = bucket or signed.bucket
        if named and account.buckets and named not in account.buckets:
            raise ApiFailure(_NO_BUCKET)


def _key(account: AccountConfig) -> bytes:
    try:
        return account.secret_key()
    except ConfigError as error:  # the key file was removed while the service runs
        raise ApiFailure(_NO_KEY) from error


class UsedSignatures:
    """Digests of the single-use signatures of one account, bounded. Times in unix seconds.

    An entry is removed after the expiry of its signature, because an expired signature is refused anyway. A
    full memory refuses new signatures: a removed signature that has not expired could be used twice.
    """

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
