"""Translation of exceptions of the HTTP stack into ``CompareError``. No other module does this."""

import ssl
from typing import TypeVar

import httpx

from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, Retry, reason_of
from agent.texts import Text, first_text

# All exceptions of an exchange except bugs; TimeoutError and ssl.SSLError are OSErrors.
FOREIGN = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError)

_UNTRUSTED = Text("fix.server_certificate_untrusted")
_OTHER_NAME = Text("fix.server_certificate_other_name")
# verify codes of OpenSSL (x509_vfy.h): the certificate is for another host name or address
_OTHER_NAME_CODES = frozenset({62, 64})
_CHAIN_MAX = 8  # causes of an exception
_SSLError = TypeVar("_SSLError", bound=ssl.SSLError)

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
    """The error for one of ``FOREIGN``. The text contains no urls or headers."""
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if certificate is not None and getattr(certificate, "verify_code", 0) in _OTHER_NAME_CODES:
        why = Text("detail.certificate_other_name")
        return CompareUnreachable(why, fix=_OTHER_NAME, retry=Retry.NEVER)
    if certificate is not None:
        why = Text("detail.certificate_untrusted", reason=reason_of(certificate))
        return CompareUnreachable(why, fix=_UNTRUSTED, retry=Retry.NEVER)
    for kind, reason, retry in _RULES:
        if isinstance(error, kind):
            return CompareError(no_answer(error), code=reason, retry=retry)
    return CompareUnreachable(no_answer(error))


def no_answer(error: Exception) -> Text:
    """The kind of a failed exchange, e.g. ``ConnectTimeout``, or the reason of a failed TLS handshake.

    The message of the exception is not used: it could quote the url.
    """
    handshake = _cause(error, ssl.SSLError) if isinstance(error, httpx.ConnectError) else None
    if handshake is not None:
        return Text("detail.handshake_failed", reason=reason_of(handshake))
    kind = type(error).__name__
    return Text("detail.no_exchange", kind=kind, why=first_text(f"http.{kind}", "http.other"))


def _cause(error: BaseException | None, kind: type[_SSLError]) -> _SSLError | None:
    """The first exception of this kind among ``error`` and its causes; None: there is no such exception."""
    for _ in range(_CHAIN_MAX):
        if error is None or isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
