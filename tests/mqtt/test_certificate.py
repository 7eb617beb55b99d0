"""The certificate reader returns name and dates, or one error with a code, for any file."""

from __future__ import annotations

import base64
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.errors import TillError
from agent.health.probe_results import CertificateProbe
from agent.mqtt.certificate import PEM_MAX_BYTES, read_certificate
from tests.broker_example.pki import Authority
from tests.texts import en, zh


def refused(path: Path) -> str:
    with pytest.raises(TillError) as caught:
        read_certificate(path)
    assert "facepay enrol" in en(caught.value.fix) and zh(caught.value.fix)
    return f"{caught.value.code}: {caught.value}"


def test_look_valid_certificate_returns_name_and_dates(tmp_path: Path) -> None:
    pair = Authority(tmp_path, "ca").issue("terminal-1", days=20)
    probe, now_s = read_certificate(pair.cert), datetime.now(UTC).timestamp()
    assert probe.name == "terminal-1"
    assert probe.begins_unix_s < now_s and abs(probe.ends_unix_s - now_s - 20 * 86_400) < 60


def test_look_chain_after_a_key_returns_the_first_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pair = authority.issue("terminal-1", days=20)
    path = tmp_path / "all.pem"
    path.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes() + authority.path.read_bytes())
    assert read_certificate(path) == read_certificate(pair.cert)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no certificate in PEM"),
        (b"\x00\xff" * 500, "no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate in PEM"),
        (b"x" * (PEM_MAX_BYTES + 1), "longer than 65536 bytes"),
    ],
    ids=["empty", "noise", "no DER", "too large"],
)
def test_look_unusable_file_raises_certificate_unusable(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "terminal.pem"
    path.write_bytes(content)
    assert refused(path).startswith("certificate_unusable") and reason in refused(path)


def test_look_absent_or_irregular_file_is_refused_without_blocking(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing.pem")
    assert "not a file" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe.pem")
    assert "a pipe, device or folder, not a file" in refused(tmp_path / "pipe.pem")
    assert "a pipe, device or folder, not a file" in refused(Path("/dev/zero"))


def test_look_without_read_permission_raises_certificate_denied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)  # root could read the file
    with pytest.raises(TillError) as caught:
        read_certificate(tmp_path / "terminal.pem")
    assert caught.value.code == "certificate_denied" and "sudo" in en(caught.value.fix)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the library warns about negative serial numbers
def test_look_flipped_bit_returns_a_probe_or_raises_certificate_unusable(tmp_path: Path) -> None:
    pair = Authority(tmp_path, "ca").issue("terminal-1")
    der = x509.load_pem_x509_certificate(pair.cert.read_bytes()).public_bytes(serialization.Encoding.DER)
    dice, refusals, path = random.Random(7), 0, tmp_path / "damaged.pem"
    for _ in range(400):
        damaged = bytearray(der)
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        body = base64.encodebytes(bytes(damaged)).decode()
        path.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
        try:
            assert isinstance(read_certificate(path), CertificateProbe)
        except TillError as error:
            assert error.code == "certificate_unusable"
            refusals += 1
    assert refusals > 0


@pytest.mark.parametrize(("name", "shown"), [("a\x1b[2J\nb", "a?[2J?b"), ("终端-1", "终端-1"), ("", "")])
def test_look_name_with_control_characters_is_printable(name: str, shown: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "terminal.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    assert read_certificate(path).name == shown
