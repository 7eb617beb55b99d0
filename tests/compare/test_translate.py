"""Every exception of the HTTP stack becomes a ``CompareError``."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Iterator

import httpx
import pytest

from agent.compare.translate import FOREIGN, translate
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, Retry
from tests.compare.test_client import CROP, JPEG, client
from tests.texts import en


def exceptions_of_httpx() -> Iterator[type[Exception]]:
    for _, kind in inspect.getmembers(httpx, inspect.isclass):
        if issubclass(kind, Exception):
            yield kind


def instance(kind: type[Exception]) -> Exception:
    """An instance without a constructor call, because the constructors differ."""
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", list(exceptions_of_httpx()))
def test_every_exception_of_httpx_is_translated(kind: type[Exception]) -> None:
    assert issubclass(kind, FOREIGN), f"{kind.__name__} is not translated"
    translated = translate(instance(kind))
    assert isinstance(translated, CompareError)
    assert translated.code in {str(reason) for reason in Reason}


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionResetError, ssl.SSLError, OSError])
def test_system_error_is_unreachable_and_may_be_retried(kind: type[Exception]) -> None:
    translated = translate(kind())
    assert isinstance(translated, CompareUnreachable)
    assert translated.retry is Retry.SAME


def test_untrusted_certificate_is_not_retried() -> None:
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = OSError()
    error.__cause__.__context__ = ssl.SSLCertVerificationError()
    translated = translate(error)
    assert (translated.code, translated.retry) == (Reason.COMPARE_UNREACHABLE, Retry.NEVER)
    assert "clock" in en(translated.fix)


def test_error_text_contains_no_url_and_no_header() -> None:
    translated = translate(httpx.ConnectError("https://user:SECRET@host/ failed"))
    assert "SECRET" not in str(translated)


def test_certificate_for_another_name_does_not_blame_the_clock() -> None:
    certificate = ssl.SSLCertVerificationError("certificate verify failed: Hostname mismatch")
    error = httpx.ConnectError("certificate verify failed")
    error.__cause__ = certificate
    for verify_code, mentions_clock in ((62, False), (64, False), (10, True), (20, True)):
        certificate.verify_code = verify_code
        translated = translate(error)
        assert ("clock" in en(translated.fix)) is mentions_clock, verify_code
        assert ("host name" in en(translated.fix)) is not mentions_clock
        assert translated.retry is Retry.NEVER


async def test_alert_in_the_handshake_is_named() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4_096)
        writer.write(bytes([21, 3, 3, 0, 2, 2, 112]))  # fatal, unrecognized_name (RFC 6066)
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, client(f"https://localhost:{server.sockets[0].getsockname()[1]}/") as api:
        with pytest.raises(
            CompareUnreachable, match=r"TLS handshake failed: .* does not know this host name"
        ):
            await api.call(JPEG, CROP, 1, 60_000, lambda: None)
