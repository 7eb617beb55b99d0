"""The inputs of a healthy terminal, for tests that inject one fault."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.diagnostics.check import Finding, Verdict
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import run_checks, select
from agent.health.probe_results import CameraProbe, MountingReading
from agent.root.doctor import inputs_from_file
from agent.service.settings import EXAMPLE_SECRET

BUSY_S = 120.0
GOOD_MOUNTING = MountingReading(sharpness=60.0, rotation=0, face_width_px=180.0)
GOOD_CAMERA = CameraProbe(frames=30, fps=10.0, mean_luma=120.0, mounting=GOOD_MOUNTING, frozen=False)
ROOMY = os.statvfs_result((4_096, 4_096, 10**7, 10**6, 10**6, 10**6, 10**6, 10**6, 0, 255))


@dataclass
class TerminalFiles:
    """The files of a terminal: config, secret, storage, and its own /sys and /proc."""

    folder: Path
    url: str
    broker_port: int
    broker_host: str = "127.0.0.1"
    extra: str = ""
    bucket: str = "terminals"
    mqtt: str = ""

    @property
    def storage(self) -> Path:
        return self.folder / "state"

    @property
    def secret(self) -> Path:
        return self.folder / "secret"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def write(self) -> Path:
        path = self.folder / "agent.toml"
        if not self.secret.exists():
            self.secret.write_bytes(EXAMPLE_SECRET)
            self.secret.chmod(0o600)
        self.storage.mkdir(mode=0o700, exist_ok=True)
        self.root.mkdir(exist_ok=True)
        path.write_text(
            f"""
profile = "demo"
site = "shop-1"
terminal = "terminal-1"
inline_reference = true
[compare]
url = "{self.url}"
appid = "1250000001"
bucket = "{self.bucket}"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"
secret_key_file = "{self.secret}"
{self.extra}
[mqtt]
host = "{self.broker_host}"
port = {self.broker_port}
{self.mqtt}
[storage]
directory = "{self.storage}"
"""
        )
        return path

    def inputs(self, **changes: Any) -> CheckInputs:
        """The real adapters, except for the camera and the state of this machine."""
        defaults: dict[str, Any] = {
            "camera": lambda: GOOD_CAMERA,
            "mounting": lambda: GOOD_MOUNTING,
            "root": self.root,
            "is_synchronised": lambda: True,
            "statvfs": lambda _path: ROOMY,
            "program": lambda *_command: None,
        }
        return replace(inputs_from_file(self.write()), **(defaults | changes))


def findings(inputs: CheckInputs, *ids: str) -> dict[str, Finding]:
    """The findings, with time for a machine with other work: no check is late."""
    long_limits = [replace(check, timeout_s=BUSY_S) for check in select(CHECKS, ids)]
    return {report.check.id: report.finding for report in run_checks(long_limits, inputs)}


def causes(found: dict[str, Finding]) -> list[str]:
    return [name for name, finding in found.items() if finding.verdict is Verdict.FAIL]


def hanging_on(found: dict[str, Finding], cause: str) -> set[str]:
    return {name for name, finding in found.items() if finding.because == cause}


def certificate(folder: Path, days: Sequence[int]) -> tuple[Path, Path]:
    """Self-signed for localhost, valid from the first to the last of these days, counted from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[-1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return cert_file, key_file
