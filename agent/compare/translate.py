"""The one place where foreign exceptions of the HTTP stack become ours."""

from __future__ import annotations

import ssl

import httpx

from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, Retry
from agent.texts import Text

# Everything an exchange can raise besides bugs; TimeoutError and ssl.SSLError are OSErrors.
FOREIGN = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError)

_UNTRUSTED = Text("fix.server_certificate_untrusted")

# First match wins, so subclasses stand before their bases.
_RULES: tuple[tuple[type[Exception], Reason, Retry], ...] = (
    (httpx.InvalidURL, Reason.COMPARE_CONFIG, Retry.NEVER),
    (httpx.UnsupportedProtocol, Reason.COMPARE_CONFIG, Retry.NEVER),
    (httpx.LocalProtocolError, Reason.COMPARE_CONFIG, Retry.NEVER),  # we built a request HTTP forbids
    (httpx.DecodingError, Reason.COMPARE_MALFORMED, Retry.NEVER),
    (httpx.TooManyRedirects, Reason.COMPARE_MALFORMED, Retry.NEVER),
    (httpx.HTTPStatusError, Reason.COMPARE_FAILED, Retry.NEVER),
    (httpx.StreamError, Reason.COMPARE_FAILED, Retry.NEVER),
    (httpx.CookieConflict, Reason.COMPARE_FAILED, Retry.NEVER),
)


def translate(error: Exception) -> CompareError:
    """Our error for one of ``FOREIGN``. The text names types only: urls and headers stay out of logs."""
    if _untrusted(error):
        return CompareUnreachable("certificate not trusted", fix=_UNTRUSTED, retry=Retry.NEVER)
    for kind, reason, retry in _RULES:
        if isinstance(error, kind):
            return CompareError(type(error).__name__, code=reason, retry=retry)
    return CompareUnreachable(type(error).__name__)


def _untrusted(error: BaseException | None) -> bool:
    seen = 0
    while error is not None and seen < 8:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
