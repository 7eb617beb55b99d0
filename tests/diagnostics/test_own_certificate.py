"""The doctor's check of the client certificate that this terminal sends to the broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import secret_files as secret_module
from agent.diagnostics.check import Finding, Verdict
from agent.errors import TillError
from agent.health.probe_results import CertificateProbe
from agent.texts import Text
from tests.broker_example.pki import Authority
from tests.brokers import Mosquitto
from tests.diagnostics.kit import TerminalFiles, causes, findings, hanging_on
from tests.texts import en, zh

NAMES = ("mqtt.connect", "mqtt.certificate")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def place(tmp_path: Path, authority: Authority) -> Iterator[TerminalFiles]:
    """A terminal with a broker that requires client certificates."""
    pair = authority.issue("broker")
    files = (f"cafile {authority.path}", f"certfile {pair.cert}", f"keyfile {pair.key}")
    broker = Mosquitto(tmp_path, *files, "require_certificate true").start()
    yield TerminalFiles(tmp_path, "http://127.0.0.1:1/face/compare", broker.port)
    broker.stop()


def use_certificate(place: TerminalFiles, authority: Authority, days: float) -> Path:
    pair = authority.issue("terminal-1", days=days)
    place.mqtt = (
        f'tls = true\nca_file = "{authority.path}"\ncert_file = "{pair.cert}"\nkey_file = "{pair.key}"'
    )
    return pair.cert


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (90, Verdict.PASS, ("for terminal-1", "89 days left")),
        (25, Verdict.WARN, ("for terminal-1", "24 days left")),
        (5, Verdict.WARN, ("URGENT: for terminal-1", "4 days left")),
    ],
)
def test_certificate_days_left_give_verdict(
    place: TerminalFiles, authority: Authority, days: int, verdict: Verdict, words: tuple[str, str]
) -> None:
    use_certificate(place, authority, days)
    found = findings(place.inputs(), *NAMES)
    own = found["mqtt.certificate"]
    assert own.verdict is verdict and own.why.startswith(words[0]) and own.why.endswith(words[1])
    assert (own.remedy is None) == (verdict is Verdict.PASS)
    assert found["mqtt.connect"].verdict is Verdict.PASS


def test_ended_certificate_fails_and_broker_checks_are_skipped(
    place: TerminalFiles, authority: Authority
) -> None:
    use_certificate(place, authority, -3)
    found = findings(place.inputs(), "mqtt.roundtrip")
    assert causes(found) == ["mqtt.certificate"] and ", ended 2" in found["mqtt.certificate"].why
    remedy = found["mqtt.certificate"].remedy
    assert remedy and "facepay enrol" in en(remedy) and "systemctl restart facepay-agent" in zh(remedy)
    assert hanging_on(found, "mqtt.certificate") == {"mqtt.tls", "mqtt.connect", "mqtt.roundtrip"}


def test_a_file_that_is_no_certificate_is_the_cause(place: TerminalFiles, authority: Authority) -> None:
    use_certificate(place, authority, 90).write_text("no certificate")
    found = findings(place.inputs(), *NAMES)
    assert causes(found) == ["mqtt.certificate"]
    assert found["mqtt.certificate"].why.startswith("certificate_unusable: ")


def only(place: TerminalFiles, probe: CertificateProbe | TillError | None) -> Finding:
    def certificate() -> CertificateProbe | None:
        if isinstance(probe, TillError):
            raise probe
        return probe

    inputs = place.inputs(certificate=certificate)
    return findings(inputs, "mqtt.certificate")["mqtt.certificate"]


def test_clock_before_start_of_certificate_warns(place: TerminalFiles, authority: Authority) -> None:
    use_certificate(place, authority, 90)
    found = findings(place.inputs(unix_ms=lambda: 1_000), "mqtt.certificate")["mqtt.certificate"]
    assert found.verdict is Verdict.WARN and "not valid yet" in found.why


def test_certificate_readable_only_for_the_service_is_skipped(
    place: TerminalFiles, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = use_certificate(place, authority, 90)
    assert (
        only(place, TillError("x", code="certificate_denied", fix=Text("fix.link_down"))).verdict
        is Verdict.SKIP
    )
    gone = TillError("x", code="certificate_unusable", fix=Text("fix.link_down"))
    path.unlink()
    assert only(place, gone).verdict is Verdict.FAIL
    monkeypatch.setattr(
        secret_module, "_CREDENTIALS", path.parent
    )  # exists only while the service is running
    assert only(place, gone).verdict is Verdict.SKIP


def test_terminal_without_certificate_is_skipped(place: TerminalFiles, authority: Authority) -> None:
    assert only(place, None).why == "no TLS to the broker"
    place.mqtt = f'tls = true\nca_file = "{authority.path}"'
    assert only(place, None).why == "no client certificate"
    found = findings(place.inputs(), "mqtt.certificate")["mqtt.certificate"]
    assert found.verdict is Verdict.SKIP


def test_certificate_without_a_name_passes(place: TerminalFiles) -> None:
    found = only(place, CertificateProbe("", 0, 4_000_000_000))
    assert found.verdict is Verdict.PASS and found.why.startswith("without a name, ends 2096-10-02, ")
