"""The rules of RFC 5280 for a CA certificate that Python 3.13 checks (``VERIFY_X509_STRICT``).

Earlier versions accept such a CA, so a private CA that works on Debian 12 may be refused on Debian 13.
"""

import re

from cryptography import x509

_BEGIN = b"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----"


def ca_faults(pem: bytes) -> list[str]:
    """Why each CA of a PEM file is refused; empty if at least one certificate of the file can be used.

    A certificate that is no CA, or that cannot be parsed, counts as usable: the handshake decides.
    """
    faults = []
    try:
        for begin in re.finditer(_BEGIN, pem):  # one by one: the first usable certificate decides
            certificate = x509.load_pem_x509_certificate(pem[begin.start() :])
            fault = _fault(certificate)
            if not fault:
                return []
            name = certificate.subject.rfc4514_string()[:100]
            faults.append(f"{name}: {fault}")
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # of cryptography for a file that OpenSSL reads
        return []
    return faults


def _fault(certificate: x509.Certificate) -> str:
    """The first broken rule for a CA; empty: none, or no CA."""
    extensions = {extension.oid: extension for extension in certificate.extensions}
    basic = extensions.get(x509.BasicConstraints.oid)
    if basic is None or not basic.value.ca:
        return ""
    if not basic.critical:
        return "basicConstraints is not critical"
    if x509.KeyUsage.oid not in extensions:
        return "the CA has no keyUsage"
    if x509.SubjectKeyIdentifier.oid not in extensions:
        return "the CA has no subject key identifier"
    return ""
