"""The terminal's TLS key and certificate: making the request, judging the answer."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.fleet.refusals import refusal


def make_key() -> bytes:
    """PEM of a new private key (ECDSA P-256: every broker takes it)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request(key: bytes, site: str, terminal: str) -> str:
    """PEM of a request. The common name is the terminal's id, by which the broker example gives rights.

    Raises:
        FleetError: ``enrolment_key_unusable``.
    """
    name = [x509.NameAttribute(NameOID.COMMON_NAME, terminal)]
    if site:
        name.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, site))
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
    return made.sign(_private(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def check(certificate: bytes, authority: bytes, key: bytes, terminal: str) -> None:
    """Whether this is a certificate for our key and id, from that authority. Dates are doctor's: clocks lie.

    Raises:
        FleetError: ``enrolment_unfit``, ``enrolment_key_unusable``.
    """
    try:
        cert = x509.load_pem_x509_certificate(certificate)
        authorities = x509.load_pem_x509_certificates(authority)
        ours = _public_pem(cert.public_key()) == _public_pem(_private(key).public_key())
        names = [str(each.value) for each in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise refusal("enrolment_unfit", "no certificates in PEM") from error
    if not ours:
        raise refusal("enrolment_unfit", "the certificate is for another key")
    if names != [terminal]:
        raise refusal("enrolment_unfit", f"the certificate names {names}, this terminal is {terminal}")
    if not any(_issued(cert, each) for each in authorities):
        raise refusal("enrolment_unfit", "the certificate was not signed by the authority that came with it")


def _issued(cert: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        found = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise refusal("enrolment_key_unusable", "the TLS key file holds no private key") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise refusal("enrolment_key_unusable", "the TLS key is not an ECDSA key")
    return found


def _public_pem(key: object) -> bytes:
    pem: bytes = key.public_bytes(  # type: ignore[attr-defined] # every kind of public key has it
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem
