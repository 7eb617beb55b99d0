"""The doctor's checks of the certificates of broker and API, and of their issuers."""

from __future__ import annotations

import contextlib
import datetime
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.config import Config
from agent.config.file import load
from agent.control.status import StatusFacts, status_document
from agent.diagnostics import endpoint_probe
from agent.diagnostics.check import Finding, Verdict
from agent.health.counters import Counters
from tests.brokers import Mosquitto
from tests.diagnostics.kit import TerminalFiles, causes, findings, hanging_on
from tests.service.kit import running, slow_machine_config
from tests.texts import en, zh

NOW = datetime.datetime.now(datetime.UTC)
Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signed:
    name: str
    key: Key
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def sign(
    name: str, days: tuple[float, float], by: Signed | None = None, *, host: str = "localhost"
) -> Signed:
    """Valid between these days from now; an issuer unless the name is ``server``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    leaf = name == "server"
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=days[0]))
        .not_valid_after(NOW + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=not leaf, path_length=None), critical=True)
    )
    if leaf:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return Signed(name, key, builder.sign(by.key if by else key, hashes.SHA256()))


@dataclass(frozen=True)
class Chain:
    """``server`` signed by ``between`` signed by ``shop-ca``; days from now until each ends."""

    server: float = 90
    between: float = 900
    root: float = 900
    begun: float = -9
    sends_between: bool = True
    host: str = "localhost"

    def files(self, folder: Path) -> tuple[Path, Path, Path]:
        """(CA, certificate as the server shows it, its key)."""
        root = sign("shop-ca", (-9, self.root))
        between = sign("between", (-9, self.between), root)
        server = sign("server", (self.begun, self.server), between, host=self.host)
        ca, shown, key = folder / "shop-ca.pem", folder / "shown.pem", folder / "shown-key.pem"
        ca.write_bytes(root.pem)
        shown.write_bytes(server.pem + (between.pem if self.sends_between else b""))
        plain = serialization.NoEncryption()
        pkcs8 = serialization.PrivateFormat.PKCS8
        key.write_bytes(server.key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
        return ca, shown, key


@contextmanager
def broker_with(place: TerminalFiles, chain: Chain) -> Iterator[None]:
    ca, shown, key = chain.files(place.folder)
    made = Mosquitto(place.folder, f"certfile {shown}", f"keyfile {key}").start()
    place.broker_port, place.broker_host = made.port, "localhost"
    place.mqtt = f'tls = true\nca_file = "{ca}"'
    try:
        yield
    finally:
        made.stop()


@contextmanager
def api_with(place: TerminalFiles, chain: Chain) -> Iterator[None]:
    ca, shown, key = chain.files(place.folder)
    with running(slow_machine_config(cert_file=shown, key_file=key)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        place.extra = f'ca_file = "{ca}"'
        yield


SERVERS = {"mqtt.tls": broker_with, "net.tls": api_with}


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto) -> TerminalFiles:
    return TerminalFiles(tmp_path, "http://127.0.0.1:1/face/compare", broker.port)


def judged(place: TerminalFiles, check: str, chain: Chain) -> Finding:
    with SERVERS[check](place, chain):
        return findings(place.inputs(), check)[check]


@pytest.mark.parametrize("check", SERVERS)
@pytest.mark.parametrize(
    ("chain", "verdict", "words"),
    [
        pytest.param(Chain(), "pass", "trusted; the server's certificate (server) ends", id="far"),
        pytest.param(Chain(server=25), "warn", "the server's certificate (server) ends", id="soon"),
        pytest.param(Chain(server=5), "warn", "URGENT: the server's certificate (server)", id="this week"),
        pytest.param(Chain(between=25), "warn", "the issuer's certificate (between) ends", id="issuer, soon"),
        pytest.param(Chain(root=5), "warn", "URGENT: the issuer's certificate (shop-ca)", id="CA, this week"),
    ],
)
def test_the_one_of_the_chain_that_ends_first_is_named_with_its_days(
    place: TerminalFiles, check: str, chain: Chain, verdict: str, words: str
) -> None:
    found = judged(place, check, chain)
    assert (found.verdict, found.why.startswith(words)) == (verdict, True), found.why
    first = min(chain.server, chain.between, chain.root)
    assert found.why.endswith(f", {first - 1} days left")


@pytest.mark.parametrize("check", SERVERS)
@pytest.mark.parametrize(
    ("chain", "words"),
    [
        pytest.param(Chain(server=-1), "the server's certificate (server) has expired", id="expired"),
        pytest.param(
            Chain(begun=1), "the server's certificate (server) is not valid yet", id="from tomorrow"
        ),
        pytest.param(
            Chain(between=-1), "the issuer's certificate (between) has expired", id="issuer expired"
        ),
        pytest.param(Chain(root=-1), "the issuer's certificate (shop-ca) has expired", id="CA expired"),
        pytest.param(
            Chain(sends_between=False),
            "the issuer of the server's certificate (server) is not trusted: unable to get local issuer",
            id="the server keeps an issuer to itself",
        ),
        pytest.param(Chain(host="elsewhere"), "the server's certificate (server) is for another", id="name"),
    ],
)
def test_broken_chain_fails_and_names_the_certificate(
    place: TerminalFiles, check: str, chain: Chain, words: str
) -> None:
    found = judged(place, check, chain)
    assert found.verdict is Verdict.FAIL and words in found.why
    assert found.remedy and zh(found.remedy)
    issuer_ended = chain.between < 0 or chain.root < 0
    assert ("this issuer's certificate" in en(found.remedy)) is issuer_ended


def test_untrusted_broker_certificate_skips_dependent_checks(place: TerminalFiles) -> None:
    with broker_with(place, Chain(server=-1)):
        found = findings(place.inputs(), "mqtt.roundtrip")
    assert causes(found) == ["mqtt.tls"]
    assert hanging_on(found, "mqtt.tls") == {"mqtt.connect", "mqtt.roundtrip"}


def test_certificate_that_ends_soon_skips_no_check(place: TerminalFiles) -> None:
    with broker_with(place, Chain(server=5)):
        found = findings(place.inputs(), "mqtt.roundtrip")
    assert found["mqtt.roundtrip"].verdict is Verdict.PASS


def test_broker_certificate_is_checked_beside_a_connected_agent(place: TerminalFiles) -> None:
    camera = {"fps": 9.9, "frame_age_ms": 60, "mean_luma": 120}
    now = StatusFacts(90, (), Counters(), camera, is_connected=True, outbox_depth=0)
    with broker_with(place, Chain(server=5)):
        status = status_document(load(place.write(), Config), now)
        found = findings(place.inputs(status=lambda: status), "mqtt.connect")
    assert found["mqtt.tls"].verdict is Verdict.WARN and "the agent is connected" in found["mqtt.connect"].why


def test_mqtt_tls_without_broker_or_tls_is_skipped(place: TerminalFiles) -> None:
    assert findings(place.inputs(), "mqtt.tls")["mqtt.tls"].why == "no TLS to the broker"
    with broker_with(place, Chain()):
        pass
    found = findings(place.inputs(), "mqtt.connect")
    assert causes(found) == ["mqtt.connect"] and found["mqtt.tls"].verdict is Verdict.SKIP


def test_a_broker_without_tls_behind_that_port_is_named(place: TerminalFiles, broker: Mosquitto) -> None:
    place.mqtt = "tls = true"
    found = findings(place.inputs(), "mqtt.connect")
    assert causes(found) == ["mqtt.tls"] and "TLS" in found["mqtt.tls"].why
    assert found["mqtt.tls"].remedy and "[mqtt] port" in en(found["mqtt.tls"].remedy)


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A port that sends ``answer`` after the first bytes of each client; None: sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as held:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = held.enter_context(server.accept()[0])
                    if answer is not None:
                        client.recv(4_096)
                        client.sendall(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        serving.join()


def alert(number: int) -> bytes:
    """A fatal alert of TLS 1.2 (RFC 5246, 7.2)."""
    return bytes([21, 3, 3, 0, 2, 2, number])


@pytest.mark.parametrize("check", SERVERS)
@pytest.mark.parametrize(
    ("answer", "why", "fix"),
    [
        pytest.param(None, "no end of the TLS handshake", "firewall", id="silent"),
        pytest.param(alert(112), "does not know this host name", "refuses this terminal", id="name"),
        pytest.param(alert(80), "internal error", "refuses this terminal", id="internal error"),
        pytest.param(alert(49), "denies access", "refuses this terminal", id="access"),
    ],
)
def test_server_with_tls_that_ends_no_handshake_is_not_a_port_without_tls(
    place: TerminalFiles,
    check: str,
    answer: bytes | None,
    why: str,
    fix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoint_probe, "CONNECT_TIMEOUT_S", 0.5)
    with answering(answer) as port:
        if check == "mqtt.tls":
            place.broker_port, place.broker_host, place.mqtt = port, "localhost", "tls = true"
        else:
            place.url = f"https://localhost:{port}/face/compare"
        found = findings(place.inputs(), check)[check]
    assert found.verdict is Verdict.FAIL and why in found.why and "no TLS" not in found.why
    assert found.remedy and fix in en(found.remedy) and zh(found.remedy)
