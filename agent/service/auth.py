"""Authentication of API calls. The order of the checks is documented in docs/reference/compare-contract.md.

The header is checked first, alone: no part of a body is parsed before the signature is verified.
"""

import time
from collections.abc import Callable

from agent.compare.contract import ApiFailure
from agent.compare.signature import VALIDITY_MAX_S, Signed, is_genuine, parse
from agent.errors import ConfigError
from agent.service.account_limits import EXPIRED, AccountLimits, LocalLimits
from agent.service.causes import Cause
from agent.service.settings import AccountConfig, ServiceConfig

_ACCOUNT, _TARGET, _NO_APPID, _NO_SECRET_ID = 3, 6, 10, 11
_NOT_ITS_SECRET_ID, FORGED, _NO_BUCKET, _NO_KEY = 12, 14, 16, 107
_FUTURE_MAX_S = 300  # accepted clock difference of a signature that is valid for the full 90 days


class Authenticator:
    """Checks signatures and accounts.

    Args:
        limits: what each account may use.
        unix_s: the wall clock for signatures.
    """

    def __init__(
        self,
        accounts: tuple[AccountConfig, ...],
        limits: AccountLimits,
        *,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._unix_s = unix_s
        self._limits = limits
        self._accounts: dict[str, AccountConfig] = {}  # by secret id
        self.replace(accounts)

    def replace(self, accounts: tuple[AccountConfig, ...]) -> None:
        """Use these accounts from now on."""
        self._accounts = {account.secret_id: account for account in accounts}
        self._limits.replace(accounts)

    def verify(self, header: str) -> Signed:
        """The header with a genuine signature. Raises ``ApiFailure`` 4, 5, 11, 107, 14."""
        signed = parse(header)
        if not is_genuine(signed, key_of(self.account_of(signed.secret_id))):
            raise ApiFailure(FORGED)
        return signed

    def account_of(self, secret_id: str) -> AccountConfig:
        """Raises ``ApiFailure`` 11."""
        account = self._accounts.get(secret_id)
        if account is None:
            raise ApiFailure(_NO_SECRET_ID)
        return account

    async def permit(self, signed: Signed) -> None:
        """Check whether this signature may be used now. Raises ``ApiFailure`` 9, 3, 13, 15."""
        account = self._accounts[signed.secret_id]
        self.check_time(account, signed.expires_s, VALIDITY_MAX_S + _FUTURE_MAX_S)
        await self.use(account, signed.digest, signed.expires_s)

    def check_time(self, account: AccountConfig, expires_s: int, validity_max_s: int) -> None:
        """Check the expiry of a signature and the state of its account. Raises ``ApiFailure`` 9, 3."""
        now_s = self._unix_s()
        if now_s > expires_s:
            raise ApiFailure(EXPIRED, cause=Cause.EXPIRED)
        if expires_s > now_s + validity_max_s:
            raise ApiFailure(EXPIRED, cause=Cause.FAR_FUTURE)
        if account.suspended:
            raise ApiFailure(_ACCOUNT)

    async def use(self, account: AccountConfig, digest: bytes, expires_s: int) -> None:
        """Use one call of the account and a verified signature. Raises ``ApiFailure`` 13, 15."""
        await self._limits.take(account, digest, expires_s, self._unix_s())

    def check_target(self, signed: Signed, appid: str, bucket: str | None) -> None:
        """Check the header against the body. Raises ``ApiFailure`` 6, 10, 12, 16, in this order."""
        if signed.appid != appid or (signed.bucket and bucket and signed.bucket != bucket):
            raise ApiFailure(_TARGET)
        if signed.appid not in {account.appid for account in self._accounts.values()}:
            raise ApiFailure(_NO_APPID)
        account = self.account_of(signed.secret_id)  # a reload can have removed it
        if account.appid != signed.appid:
            raise ApiFailure(_NOT_ITS_SECRET_ID)
        named_bucket = bucket or signed.bucket
        if named_bucket and account.buckets and named_bucket not in account.buckets:
            raise ApiFailure(_NO_BUCKET)


def key_of(account: AccountConfig) -> bytes:
    """The key of an account. Raises ``ApiFailure`` 107."""
    try:
        return account.secret_key()
    except ConfigError as error:  # the key file was removed while the service runs
        raise ApiFailure(_NO_KEY) from error


def limits_of(config: ServiceConfig) -> AccountLimits:
    """The limits of ``[shared]``, or of this process. Raises ``ConfigError``: unusable password file."""
    if not config.shared.url:
        return LocalLimits()
    from agent.service.shared_limits import SharedLimits  # loads the client of the store

    return SharedLimits(config.shared)
