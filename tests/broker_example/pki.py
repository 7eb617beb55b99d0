"""A small PKI for the tests: certificate authorities that issue certificates by common name."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_UNUSED = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ),
    False,
)
_CA_USAGE = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **_UNUSED)


@dataclass(frozen=True)
class Pair:
    """PEM files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates into ``folder``."""

    def __init__(self, folder: Path, name: str, *, days: float = 1 / 24) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert = self._build(self._name, self._key.public_key(), ca=True, days=days)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        common_name: str,
        label: str = "",
        *,
        days: float = 1 / 24,
        hosts: Sequence[str] = ("127.0.0.1",),
    ) -> Pair:
        """A certificate and key, valid for ``days``; negative: expired ``-days`` days ago.

        ``hosts``: the names and addresses of a server.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        cert = self._build(name, key.public_key(), ca=False, days=days, hosts=hosts)
        stem = label or common_name
        pair = Pair(self._folder / f"{stem}.pem", self._folder / f"{stem}-key.pem")
        pair.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def sign(self, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """A certificate for the key and name of a signing request."""
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return self._build(request.subject, key, ca=False)

    def _build(
        self,
        name: x509.Name,
        public: ec.EllipticCurvePublicKey,
        *,
        ca: bool,
        days: float = 1 / 24,
        hosts: Sequence[str] = ("127.0.0.1",),
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        ends = now + datetime.timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, ends) - datetime.timedelta(days=1))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if ca:  # Python 3.13 refuses a CA without key usage (RFC 5280)
            builder = builder.add_extension(_CA_USAGE, critical=True)
        else:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
