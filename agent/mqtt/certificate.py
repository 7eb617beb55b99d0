"""One look at this terminal's own certificate: whose it is, and from when to when it is good.

Dates only: whether it fits its key is judged when the link loads both, whether anybody trusts it is the
broker's to say.
"""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from agent.errors import TillError
from agent.health.probe_results import CertificateProbe
from agent.texts import Text

PEM_MAX_BYTES = 65_536  # a certificate and those of its issuers are some KiB
NAME_MAX_CHARS = 64  # RFC 5280, ub-common-name

_FIX = Text("fix.renew_terminal_certificate")

_SUDO = Text("fix.run_as_service_user")


def look(path: Path) -> CertificateProbe:
    """The first certificate of a PEM file: the one that is shown; issuers may follow. Reads 64 KiB at most.

    Raises:
        TillError: ``certificate_denied`` (not for this user), ``certificate_unusable``: absent, no regular
            file, too large, or no certificate.
    """
    try:
        pem = _read(path)
    except PermissionError as error:
        raise TillError(
            f"{path}: this user may not read it",
            code="certificate_denied",
            fix=_SUDO,
        ) from error
    except (OSError, ValueError) as error:
        raise _unusable(path, getattr(error, "strerror", None) or str(error)) from error
    try:
        found = x509.load_pem_x509_certificate(pem)
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        begins, ends = _seconds(found.not_valid_before_utc), _seconds(found.not_valid_after_utc)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise _unusable(path, "no certificate in PEM") from error
    return CertificateProbe(_printable(str(names[0].value)) if names else "", begins, ends)


def _read(path: Path) -> bytes:
    """Raises ``OSError``, ``ValueError``. Not blocked by a named pipe that stands in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        pem = file.read(PEM_MAX_BYTES + 1)
    if len(pem) > PEM_MAX_BYTES:
        raise ValueError(f"larger than {PEM_MAX_BYTES // 1_024} KiB")
    return pem


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _printable(name: str) -> str:
    """Somebody else wrote it, and it goes to a terminal."""
    return "".join(each if each.isprintable() else "?" for each in name)[:NAME_MAX_CHARS]


def _unusable(path: Path, why: str) -> TillError:
    return TillError(
        f"{path}: {why}",
        code="certificate_unusable",
        fix=_FIX,
    )
