"""TLS contexts do not depend on the environment; the watchdog's period is valid."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agent.compare.transport import open_client
from agent.config import MqttConfig
from agent.config.tls_files import client_context, server_context
from agent.health.notify import watchdog_period_s
from agent.mqtt.paho_client import tls_context


@pytest.mark.parametrize("name", ["/nowhere/keys", "keys"])
async def test_a_key_log_file_in_the_environment_is_ignored(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's default context raises if the file is not writable, and writes session keys otherwise."""
    path = Path(name) if name.startswith("/") else tmp_path / name
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    contexts = [client_context("mqtt.ca_file", None), server_context(), tls_context(MqttConfig(tls=True))]
    await open_client("https://api.example/", None).aclose()
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
