"""Authentication of API calls. The order of the checks is documented in docs/reference/compare-contract.md.

The header is checked first, alone: no part of a body is parsed before the signature is verified.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.compare.contract import ApiFailure
from agent.compare.signature import VALIDITY_MAX_S, Signed, is_genuine, parse
from agent.core.rate import TokenBucket
from agent.errors import ConfigError
from agent.service.settings import AccountConfig, ServiceConfig

_ACCOUNT, _TARGET, _EXPIRED, _NO_APPID, _NO_SECRET_ID = 3, 6, 9, 10, 11
_NOT_ITS_SECRET_ID, _REPLAY, _FORGED, _TOO_OFTEN, _NO_BUCKET, _NO_KEY = 12, 13, 14, 15, 16, 107
_FUTURE_MAX_S = 300  # accepted clock difference of a signature that is valid for the full 90 days


class Authenticator:
    """Checks signatures. Keeps a token bucket per appid, and the digests of single-use accounts.

    Args:
        unix_s: the wall clock for signatures.
    """

    def __init__(self, config: ServiceConfig, *, unix_s: Callable[[], float] = time.time) -> None:
        self._accounts = {account.secret_id: account for account in config.accounts}
        self._appids = {account.appid for account in config.accounts}
        self._unix_s = unix_s
        now_s = time.monotonic()
        self._rates = {
            account.appid: TokenBucket(account.rate_per_s, account.burst, now_s)
            for account in config.accounts
        }
        self._used_digests: dict[bytes, int] = {}  # digest -> expiry (unix s), single_use accounts only

    def admit(self, header: str) -> Signed:
        """Check the header alone. Raises ``ApiFailure`` 4, 5, 11, 14, 9, 3, 13, 15, in this order."""
        signed = parse(header)
        account = self._accounts.get(signed.secret_id)
        if account is None:
            raise ApiFailure(_NO_SECRET_ID)
        if not is_genuine(signed, _key(account)):
            raise ApiFailure(_FORGED)
        now_s = self._unix_s()
        if not now_s <= signed.expires_s <= now_s + VALIDITY_MAX_S + _FUTURE_MAX_S:
            raise ApiFailure(_EXPIRED)
        if account.suspended:
            raise ApiFailure(_ACCOUNT)
        if account.single_use:
            self._check_replay(signed, now_s)
        if not self._rates[account.appid].take(time.monotonic()):
            raise ApiFailure(_TOO_OFTEN)
        return signed

    def check_target(self, signed: Signed, appid: str, bucket: str | None) -> None:
        """Check the header against the body. Raises ``ApiFailure`` 6, 10, 12, 16, in this order."""
        if signed.appid != appid or (signed.bucket and bucket and signed.bucket != bucket):
            raise ApiFailure(_TARGET)
        if signed.appid not in self._appids:
            raise ApiFailure(_NO_APPID)
        account = self._accounts[signed.secret_id]
        if account.appid != signed.appid:
            raise ApiFailure(_NOT_ITS_SECRET_ID)
        named = bucket or signed.bucket
        if named and account.buckets and named not in account.buckets:
            raise ApiFailure(_NO_BUCKET)

    def _check_replay(self, signed: Signed, now_s: float) -> None:
        self._used_digests = {digest: end_s for digest, end_s in self._used_digests.items() if end_s >= now_s}
        if signed.digest in self._used_digests:
            raise ApiFailure(_REPLAY)
        self._used_digests[signed.digest] = signed.expires_s


def _key(account: AccountConfig) -> bytes:
    try:
        return account.secret_key()
    except ConfigError as error:  # the key file was removed while the service runs
        raise ApiFailure(_NO_KEY) from error
