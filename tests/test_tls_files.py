"""TLS contexts do not depend on the environment; the watchdog's period is valid."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.compare.transport import open_client
from agent.config import MqttConfig, tls_files
from agent.config.ca_rules import ca_faults
from agent.config.tls_files import client_context, server_context
from agent.errors import ConfigError
from agent.health.notify import watchdog_period_s
from agent.mqtt.paho_client import tls_context
from agent.root.runnable_config import load_runnable_config
from agent.service.download import Downloader
from tests.broker_example.pki import Authority
from tests.diagnostics.kit import TerminalFiles


@pytest.mark.parametrize("name", ["/nowhere/keys", "keys"])
async def test_a_key_log_file_in_the_environment_is_ignored(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's default context raises if the file is not writable, and writes session keys otherwise."""
    path = Path(name) if name.startswith("/") else tmp_path / name
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    contexts = [client_context("mqtt.ca_file", None), server_context(), tls_context(MqttConfig(tls=True))]
    await open_client("https://api.example/", None).aclose()
    downloader = Downloader(private_hosts=(), timeout_ms=1_000, max_bytes=1)
    await downloader._client("https").aclose()
    assert downloader._trust is not None
    contexts.append(downloader._trust)
    assert all(context.keylog_filename is None for context in contexts) and not path.exists()


def test_a_client_context_verifies_the_chain_and_the_name() -> None:
    context = client_context("mqtt.ca_file", None)
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("usec", "period_s"),
    [("30000000", 15.0), ("0", None), ("", None), ("-5", None), ("no", None), (str(2**64 - 1), None)],
)
def test_watchdog_period_s_ignores_invalid_values(
    usec: str, period_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_period_s() == period_s


# --- the rules of Python 3.13 for a private CA ---------------------------------------------------

PARTS = ("usage", "identifier", "critical")


def private_ca(folder: Path, *without: str) -> tuple[Path, Path]:
    """A self-signed CA, and one file with key and certificate of a server. ``without``: of ``PARTS``."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Shop CA", "broker")]
    begins, ends = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)

    def signed(at: int, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = x509.CertificateBuilder(
            names[0],
            names[at],
            keys[at].public_key(),
            at + 1,
            begins,
            ends,
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    public = keys[0].public_key()
    wanted = [(x509.BasicConstraints(ca=True, path_length=None), "critical" not in without)]
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    own: list[tuple[x509.ExtensionType, bool]] = [*wanted]
    own += [(usage, True)] * ("usage" not in without)
    own += [(x509.SubjectKeyIdentifier.from_public_key(public), False)] * ("identifier" not in without)
    server = signed(
        1,
        (x509.SubjectAlternativeName([x509.DNSName("broker")]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca_file, pair = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(signed(0, *own))
    pair.write_bytes(server + keys[1].private_bytes(serialization.Encoding.PEM, *plain))
    return ca_file, pair


def is_accepted(ca_file: Path, pair: Path) -> bool:
    """Whether OpenSSL with the flags of Python 3.13 accepts the server; one handshake in memory."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_context()
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    client.load_verify_locations(ca_file)
    server.load_cert_chain(pair)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="broker"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for end in ends * 4:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


@pytest.mark.parametrize("without", [(), *((part,) for part in PARTS)])
def test_a_private_ca_is_refused_as_openssl_with_strict_rules_refuses_it(
    without: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file, pair = private_ca(tmp_path, *without)
    assert is_accepted(ca_file, pair) is (not without)
    monkeypatch.setattr(tls_files, "_IS_STRICT", True)
    client_context("camera.ca_file", ca_file)
    if not without:
        client_context("mqtt.ca_file", ca_file)
        return
    with pytest.raises(ConfigError, match=f"mqtt.ca_file: {ca_file}: .*CN=Shop CA") as caught:
        client_context("mqtt.ca_file", ca_file)
    assert caught.value.code == "tls_file_unusable" and "keyUsage" in str(caught.value.fix)


def test_a_file_with_one_usable_ca_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_files, "_IS_STRICT", True)
    refused, _ = private_ca(tmp_path, "usage")
    old = refused.read_bytes()
    both, _ = private_ca(tmp_path)
    both.write_bytes(old + both.read_bytes())
    client_context("mqtt.ca_file", both)


def test_a_ca_that_only_openssl_can_parse_is_left_to_the_handshake(tmp_path: Path) -> None:
    """An extension that occurs twice: OpenSSL loads the certificate, cryptography raises no ValueError."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Shop CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    for oid in ("1.3.6.1.4.1.99999.8", "1.3.6.1.4.1.99999.9"):
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"x"), False)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    second = bytes.fromhex("2b06010401868d1f09")
    assert der.count(second) == 1
    pem = ssl.DER_cert_to_PEM_cert(der.replace(second, second[:-1] + b"\x08"))
    (tmp_path / "ca.pem").write_text(pem)
    client_context("mqtt.ca_file", tmp_path / "ca.pem")
    assert ca_faults(pem.encode()) == []


def test_config_check_names_a_ca_that_python_3_13_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_files, "_IS_STRICT", True)
    ca_file, _ = private_ca(tmp_path, "usage")
    place = TerminalFiles(
        tmp_path, "https://127.0.0.1:9/face/compare", 1, mqtt=f'tls = true\nca_file = "{ca_file}"'
    )
    with pytest.raises(ConfigError, match=r"agent\.toml:\d+: mqtt\.ca_file: .*the CA has no keyUsage"):
        load_runnable_config(place.write(), with_parts=True)


def test_the_authority_of_the_examples_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_files, "_IS_STRICT", True)
    client_context("mqtt.ca_file", Authority(tmp_path, "ca").path)
    client_context("mqtt.ca_file", Path(certifi.where()))
