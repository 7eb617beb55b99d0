"""The terminal's TLS key and certificate: the signing request, and the check of an issued certificate."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.fleet.fleet_errors import refusal
from agent.texts import Text


def make_key() -> bytes:
    """PEM of a new private key (ECDSA P-256: every broker supports it)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_csr(key: bytes, site: str, terminal: str) -> str:
    """PEM of a signing request. Common name: the terminal id, which the broker example maps to rights.

    Raises:
        FleetError: ``enrolment_key_unusable``.
    """
    name = [x509.NameAttribute(NameOID.COMMON_NAME, terminal)]
    if site:
        name.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, site))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
    return builder.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def check_certificate(certificate: bytes, authority: bytes, key: bytes, terminal: str) -> None:
    """Check that a certificate is for ``key`` and ``terminal`` and issued by ``authority`` (all PEM).

    Validity dates are not checked: the terminal's clock may be wrong at enrolment. Doctor checks the dates.

    Raises:
        FleetError: ``enrolment_unfit``, ``enrolment_key_unusable``.
    """
    try:
        cert = x509.load_pem_x509_certificate(certificate)
        authorities = x509.load_pem_x509_certificates(authority)
        same_key = cert.public_key() == _private(key).public_key()
        names = [str(item.value) for item in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise refusal("enrolment_unfit", Text("detail.no_certificates")) from error
    if not same_key:
        raise refusal("enrolment_unfit", Text("detail.certificate_other_key"))
    if names != [terminal]:
        why = Text("detail.certificate_other_terminal", names=", ".join(names), terminal=terminal)
        raise refusal("enrolment_unfit", why)
    if not any(_issued(cert, authority) for authority in authorities):
        raise refusal("enrolment_unfit", Text("detail.certificate_other_authority"))


def _issued(cert: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise refusal("enrolment_key_unusable", Text("detail.tls_key_none")) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise refusal("enrolment_key_unusable", Text("detail.tls_key_kind"))
    return private
