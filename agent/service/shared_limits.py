"""AccountLimits of accounts in a Redis or Valkey store, shared by all machines of a cluster.

One script decides in one round trip and by the store's clock, so two machines cannot both accept a signature.
Without an answer of the store within ``timeout_ms`` the call is refused with code 15: an accepted call could
be a repeated one. The store holds a digest per single-use signature until its expiry, and two numbers per
appid; no picture, key or name.
"""

import asyncio
import logging
from enum import StrEnum
from typing import Any, assert_never

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agent.compare.contract import ApiFailure
from agent.log import facts
from agent.service.account_limits import EXPIRED, REPLAY, TOO_OFTEN
from agent.service.causes import Cause
from agent.service.settings import AccountConfig, SharedConfig

log = logging.getLogger(__name__)

_PREFIX = "facepay:"
_CONNECTIONS_MAX = 64
# KEYS: bucket of the appid; entry of the signature, for a single-use account only.
# ARGV: rate per s, burst, expiry of the entry in unix s. The store keeps no entry that has expired by its
# clock, so such a signature is refused: on a machine whose clock is behind it could be used again and again.
_TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
if KEYS[2] and now >= tonumber(ARGV[3]) then return 'expired' end
if KEYS[2] and redis.call('EXISTS', KEYS[2]) == 1 then return 'used' end
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if kept[1] then tokens = math.min(burst, kept[1] + math.max(0, now - kept[2]) * rate) end
if tokens < 1 then return 'rate' end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - 1), 'at', tostring(now))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 1)
if KEYS[2] then redis.call('SET', KEYS[2], '1', 'EXAT', ARGV[3]) end
return 'taken'
"""


class Outcome(StrEnum):
    """What the script returns."""

    TAKEN = "taken"
    USED = "used"
    RATE = "rate"
    EXPIRED = "expired"


class SharedLimits:
    """``AccountLimits`` in a store. The connection is made at the first call."""

    def __init__(self, config: SharedConfig) -> None:
        """Raises ``ConfigError``: the password file is unusable."""
        timeout_s = config.timeout_ms / 1e3
        tls: dict[str, Any] = {"ssl_ca_certs": str(config.ca_file)} if config.ca_file else {}
        self._store = Redis.from_url(
            config.url,
            password=config.password(),
            decode_responses=True,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1),  # a closed connection is replaced once
            max_connections=_CONNECTIONS_MAX,
            **tls,
        )
        self._timeout_s = timeout_s
        self._script = self._store.register_script(_TAKE)
        self._is_reached = True

    def replace(self, accounts: tuple[AccountConfig, ...]) -> None:
        """Nothing to do: rate and burst are sent with each call, and the store keeps the rest."""

    async def take(self, account: AccountConfig, digest: bytes, expires_s: int, now_s: float) -> None:
        del now_s  # the clock of the store decides
        bucket = f"{_PREFIX}rate:{account.appid}"
        entry = f"{_PREFIX}used:{account.secret_id}:{digest.hex()}"
        keys = (bucket, entry) if account.single_use else (bucket,)
        values = (account.rate_per_s, account.burst, expires_s + 1)
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome = Outcome(await self._script(keys=keys, args=values))
        except (RedisError, OSError, ValueError) as error:
            self._record_reached(is_reached=False, why=type(error).__name__)
            why = "the shared store does not answer"
            raise ApiFailure(TOO_OFTEN, why, cause=Cause.SHARED_STORE) from error
        self._record_reached(is_reached=True)
        match outcome:
            case Outcome.TAKEN:
                return
            case Outcome.USED:
                raise ApiFailure(REPLAY)
            case Outcome.RATE:
                raise ApiFailure(TOO_OFTEN, cause=Cause.ACCOUNT_RATE)
            case Outcome.EXPIRED:
                raise ApiFailure(EXPIRED, "expired by the clock of the shared store", cause=Cause.EXPIRED)
        assert_never(outcome)

    async def close(self) -> None:
        await self._store.aclose()

    def _record_reached(self, *, is_reached: bool, why: str = "") -> None:
        """Log each change once."""
        if is_reached != self._is_reached:
            self._is_reached = is_reached
            level = logging.INFO if is_reached else logging.ERROR
            log.log(level, "shared_store", extra=facts(reached=is_reached, why=why))
