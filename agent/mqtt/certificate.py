"""The subject and the validity dates of this terminal's own certificate.

Reads dates only. ``load_pair`` checks whether certificate and key match when a connection is made. The broker
decides whether the issuer is trusted.
"""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from agent.errors import TillError, reason_of
from agent.health.probe_results import CertificateProbe
from agent.safe_open import read_plain
from agent.texts import Text

PEM_MAX_BYTES = 65_536  # a certificate and those of its issuers are some KiB
NAME_MAX_CHARS = 64  # RFC 5280, ub-common-name


def read_certificate(path: Path) -> CertificateProbe:
    """Read the first certificate of a PEM file: the terminal's own; issuers may follow. At most 64 KiB.

    Raises:
        TillError: ``certificate_denied`` (this user has no read permission), ``certificate_unusable``: the
            file is absent, not regular, too large, or holds no certificate.
    """
    try:
        pem = read_plain(path, PEM_MAX_BYTES, links=True)
    except PermissionError as error:
        raise TillError(
            Text("detail.no_permission", path=path),
            code="certificate_denied",
            fix=Text("fix.run_as_service_user"),
        ) from error
    except (OSError, ValueError) as error:
        raise _unusable(path, reason_of(error)) from error
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        begins_unix_s = int(certificate.not_valid_before_utc.timestamp())
        ends_unix_s = int(certificate.not_valid_after_utc.timestamp())
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise _unusable(path, Text("detail.no_certificate")) from error
    name = str(names[0].value)[:NAME_MAX_CHARS] if names else ""
    # the issuer chose the name, and the name is printed on a terminal
    printable = "".join(char if char.isprintable() else "?" for char in name)
    return CertificateProbe(printable, begins_unix_s, ends_unix_s)


def _unusable(path: Path, why: str | Text) -> TillError:
    return TillError(
        Text("detail.at", place=path, reason=why),
        code="certificate_unusable",
        fix=Text("fix.renew_terminal_certificate"),
    )
