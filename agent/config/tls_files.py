"""TLS contexts from the files that a config names. An error names key, file and the fault of the file."""

import ssl
import sys
from pathlib import Path
from typing import NoReturn

from agent.errors import ConfigError, reason_of
from agent.safe_open import read_plain
from agent.texts import Text

TLS_FILE_UNUSABLE = "tls_file_unusable"
_MAX_BYTES = 4 * 1024 * 1024  # the CA store of a system has about 200 KiB
_FIX = "fix.pem_file_wrong"
_NOT_STRICT = ("camera.ca_file",)  # FFmpeg verifies the camera, with rules of its own
_IS_STRICT = sys.version_info >= (3, 13)  # as ``ssl.create_default_context``


class _EncryptedError(Exception):
    """OpenSSL needs a passphrase. A daemon cannot prompt for one."""


def client_context(key: str, ca_file: Path | None) -> ssl.SSLContext:
    """The context of a client. ``ca_file`` None: the system's CAs. ``key``: the config key of ``ca_file``.

    Raises ``ConfigError``: the file is missing, unreadable, DER, or contains no certificate for this Python.
    """
    if ca_file is not None:
        _check_authorities(key, ca_file, _read_pem(key, ca_file, "CERTIFICATE"))
    context = _new_context(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        _refuse(key, ca_file, Text("detail.pem_no_certificate", reason=_reason(error)), _FIX)
    return context


def server_context() -> ssl.SSLContext:
    """The context of a server, still without a certificate."""
    return _new_context(ssl.PROTOCOL_TLS_SERVER)


def unverified_context() -> ssl.SSLContext:
    """A context that accepts any certificate: only for connections that send no secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def load_pair(context: ssl.SSLContext, section: str, cert_file: Path, key_file: Path | None) -> None:
    """Load the certificate and key that ``section`` names as ``cert_file`` and ``key_file``.

    Never prompts for a passphrase. Raises ``ConfigError``: a file is missing, unreadable, DER or encrypted,
    or the key is of another certificate.
    """
    prefix = f"{section}." if section else ""
    cert_key, key_key = f"{prefix}cert_file", f"{prefix}key_file"
    _read_pem(cert_key, cert_file, "CERTIFICATE")
    if key_file is not None:
        _read_pem(key_key, key_file, "PRIVATE KEY")
    holder, where = (cert_file, cert_key) if key_file is None else (key_file, key_key)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    except _EncryptedError:
        _refuse(where, holder, Text("detail.key_encrypted"), "fix.key_has_passphrase")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = Text("detail.key_of_other_certificate", cert_file=cert_file)
            _refuse(where, holder, why, "fix.key_not_of_certificate")
        _refuse(
            where, holder, Text("detail.key_unusable_with", cert_file=cert_file, reason=_reason(error)), _FIX
        )
    except OSError as error:
        _refuse(where, holder, _reason(error), _FIX)


def _new_context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    """As ``ssl.create_default_context``, but without SSLKEYLOGFILE.

    With that variable Python writes session keys into a file, and raises if the file cannot be written.
    """
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if _IS_STRICT:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    return context


def _no_passphrase() -> NoReturn:
    raise _EncryptedError


def _check_authorities(key: str, path: Path, pem: bytes) -> None:
    """Refuse a file in which no certificate can verify a server. Without strict rules nothing is checked."""
    if not _IS_STRICT or key in _NOT_STRICT:
        return
    from agent.config.ca_rules import ca_faults  # cryptography would delay every command

    faults = ca_faults(pem)
    if faults:
        _refuse(key, path, Text("detail.ca_refused", reason=faults[0]), "fix.certificate_breaks_standard")


def _read_pem(key: str, path: Path, kind: str) -> bytes:
    """The file, if it has a PEM block whose name contains ``kind``. Raises ``ConfigError``."""
    try:
        content = read_plain(path, _MAX_BYTES, links=True)
    except OSError as error:
        _refuse(key, path, Text("detail.cannot_be_read", reason=_reason(error)), _FIX)
    if not content.strip():
        _refuse(key, path, Text("detail.is_empty"), _FIX)
    if b"-----BEGIN " not in content:
        is_der = content[:1] == b"\x30"  # ASN.1 SEQUENCE
        _refuse(
            key,
            path,
            Text("detail.is_der") if is_der else Text("detail.is_no_pem"),
            "fix.convert_der_to_pem" if is_der else _FIX,
        )
    if kind.encode() not in content:
        _refuse(key, path, Text("detail.pem_without", kind=kind.lower()), _FIX)
    return content


def _reason(error: OSError) -> str | Text:
    """The reason of the system; of OpenSSL, its name of the reason in words."""
    reason = reason_of(error)
    if isinstance(reason, Text) or not isinstance(error, ssl.SSLError):
        return reason
    return error.reason.lower().replace("_", " ") if error.reason else Text("detail.not_for_openssl")


def _refuse(key: str, path: Path | None, why: str | Text, fix: str) -> NoReturn:
    """Raise the error. ``fix``: the key of its text."""
    text = Text(fix, setting=key, path=path)
    why = Text("detail.at", place=f"{key}: {path}", reason=why)
    raise ConfigError(why, code=TLS_FILE_UNUSABLE, fix=text) from None
