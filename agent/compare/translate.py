"""Translation of exceptions of the HTTP stack into ``CompareError``. No other module does this."""

from __future__ import annotations

import ssl

import httpx

from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, Retry
from agent.texts import Text

# All exceptions of an exchange except bugs; TimeoutError and ssl.SSLError are OSErrors.
FOREIGN = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError)

_UNTRUSTED = Text("fix.server_certificate_untrusted")
_CHAIN_MAX = 8  # causes of an exception

# The first match wins, so a subclass precedes its base.
_RULES: tuple[tuple[type[Exception], Reason, Retry], ...] = (
    (httpx.InvalidURL, Reason.COMPARE_CONFIG, Retry.NEVER),
    (httpx.UnsupportedProtocol, Reason.COMPARE_CONFIG, Retry.NEVER),
    (httpx.LocalProtocolError, Reason.COMPARE_CONFIG, Retry.NEVER),  # the request breaks the rules of HTTP
    (httpx.DecodingError, Reason.COMPARE_MALFORMED, Retry.NEVER),
    (httpx.TooManyRedirects, Reason.COMPARE_MALFORMED, Retry.NEVER),
    (httpx.HTTPStatusError, Reason.COMPARE_FAILED, Retry.NEVER),
    (httpx.StreamError, Reason.COMPARE_FAILED, Retry.NEVER),
    (httpx.CookieConflict, Reason.COMPARE_FAILED, Retry.NEVER),
)


def translate(error: Exception) -> CompareError:
    """The error for one of ``FOREIGN``. The text contains type names only, no urls or headers."""
    if _is_untrusted(error):
        return CompareUnreachable("certificate not trusted", fix=_UNTRUSTED, retry=Retry.NEVER)
    for kind, reason, retry in _RULES:
        if isinstance(error, kind):
            return CompareError(type(error).__name__, code=reason, retry=retry)
    return CompareUnreachable(type(error).__name__)


def _is_untrusted(error: BaseException | None) -> bool:
    for _ in range(_CHAIN_MAX):
        if error is None or isinstance(error, ssl.SSLCertVerificationError):
            return error is not None
        error = error.__cause__ or error.__context__
    return False
