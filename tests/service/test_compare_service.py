"""Start, stop, https, and the limits of the published example key."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, ConfigError, Retry
from agent.resources import config_file
from agent.service.compare_service import CompareService
from agent.service.settings import (
    EXAMPLE_SECRET,
    AccountConfig,
    ServiceConfig,
    SharedConfig,
    check,
    load_service,
)
from tests.fakes import RealClock
from tests.service.certificates import self_signed
from tests.service.kit import APPID, account, client, files, sign, slow_machine_config
from tests.service.pictures import photo
from tests.texts import en

OBAMA, PODIUM = photo("obama_portrait"), photo("obama_podium")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost: (certificate, key)."""
    return self_signed(tmp_path)


async def test_restart_uses_the_same_port() -> None:
    service = CompareService(slow_machine_config())
    await service.start()
    url = service.url
    api = client(url)
    assert (await api.compare(PODIUM, OBAMA, timeout_ms=20_000)).similarity > 85
    await service.stop()
    await service.stop()
    with pytest.raises(CompareUnreachable):
        await api.compare(PODIUM, OBAMA, timeout_ms=5_000)
    await service.start()
    assert service.url == url
    assert (await api.compare(PODIUM, OBAMA, timeout_ms=20_000)).similarity > 85
    assert service.calls == 2
    await api.close()
    await service.stop()


async def test_https_needs_a_trusted_certificate(certificate: tuple[Path, Path]) -> None:
    cert_file, key_file = certificate
    service = CompareService(slow_machine_config(cert_file=cert_file, key_file=key_file, host="localhost"))
    await service.start()
    assert service.url.startswith("https://localhost:")
    trusting, untrusting = client(service.url, ca_file=cert_file), client(service.url)
    assert (await trusting.compare(PODIUM, OBAMA, timeout_ms=20_000)).similarity > 85
    with pytest.raises(CompareUnreachable) as caught:
        await untrusting.compare(PODIUM, OBAMA, timeout_ms=5_000)
    assert caught.value.retry is Retry.NEVER
    assert "certificate" in en(caught.value.fix)
    assert service.calls == 1
    for api in (trusting, untrusting):
        await api.close()
    await service.stop()


class SlowClock(RealClock):
    """A wall clock an hour behind."""

    def unix_ms(self) -> int:
        return super().unix_ms() - 3_600_000


async def test_clock_an_hour_slow_is_corrected_after_the_first_refusal(
    certificate: tuple[Path, Path],
) -> None:
    cert_file, key_file = certificate
    service = CompareService(slow_machine_config(cert_file=cert_file, key_file=key_file, host="localhost"))
    await service.start()
    api = client(service.url, clock=SlowClock(), ca_file=cert_file)
    with pytest.raises(CompareError) as caught:
        await api.compare(PODIUM, OBAMA, timeout_ms=20_000)
    assert (caught.value.code, caught.value.retry) == (Reason.CLOCK, Retry.RESIGN)
    assert (await api.compare(PODIUM, OBAMA, timeout_ms=20_000)).similarity > 85
    await api.close()
    await service.stop()


async def test_plain_http_does_not_correct_the_clock() -> None:
    service = CompareService(slow_machine_config())
    await service.start()
    api = client(service.url, clock=SlowClock())
    for _ in range(2):
        with pytest.raises(CompareError) as caught:
            await api.compare(PODIUM, OBAMA, timeout_ms=20_000)
        assert caught.value.code == Reason.CLOCK
    await api.close()
    await service.stop()


async def test_slow_client_is_answered_and_disconnected() -> None:
    service = CompareService(slow_machine_config(body_timeout_ms=200))
    await service.start()
    host, port = service.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /face/compare HTTP/1.1\r\nHost: x\r\nAuthorization: {sign()}\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(), 60)
    assert b'"code":21' in answer and b"connection: close" in answer.lower()
    writer.close()
    await writer.wait_closed()
    await service.stop()


# --- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "shop.example", ""])
def test_example_key_on_another_address_is_refused(host: str, tmp_path: Path) -> None:
    copied = tmp_path / "key"
    copied.write_bytes(EXAMPLE_SECRET + b"\n")
    as_file = AccountConfig(appid=APPID, secret_id="X", secret_key_file=copied)
    for config in (slow_machine_config(host=host), slow_machine_config(host=host, accounts=(as_file,))):
        with pytest.raises(ConfigError) as caught:
            CompareService(config)
        assert caught.value.code == "example_account_exposed"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_example_key_on_loopback_is_accepted(host: str) -> None:
    check(slow_machine_config(host=host))


def test_command_line_overrides_the_file_and_is_checked() -> None:
    path = config_file("service.toml")
    assert load_service(path, port=1234, host=None).port == 1234
    with pytest.raises(ConfigError, match="port"):
        load_service(path, port=99_999)


@pytest.mark.parametrize(
    "wrong",
    [
        {"accounts": ()},
        {"accounts": (account("A", example=False, secret_key_file=Path("/nowhere")),)},
        {"cert_file": Path("/nowhere"), "key_file": Path("/nowhere")},
        {"shared": SharedConfig(url="rediss://store:6379/0", ca_file=Path("/nowhere"))},
    ],
)
def test_check_at_start_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check(slow_machine_config(**wrong))


def test_certificate_with_the_key_of_another_names_the_key(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    cert_file, (_, other_key) = certificate[0], self_signed(tmp_path / "other")
    with pytest.raises(ConfigError, match=f"key_file: {other_key}") as refused:
        check(slow_machine_config(cert_file=cert_file, key_file=other_key))
    assert refused.value.code == "tls_file_unusable"


def test_pipe_as_a_secret_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe"):
        account("A", example=False, secret_key_file=tmp_path / "pipe").secret_key()


@pytest.mark.parametrize(
    "wrong",
    [
        {"cert_file": "x"},
        {"unknown_key": 1},
        {"shared": {"url": "redis://store:6379/0", "ca_file": "/nowhere"}},  # each call would fail
        {"shared": {"url": "unix:///run/store.sock", "ca_file": "/nowhere"}},
        {"shared": {"url": "redis://store:port/0"}},
        {"shared": {"url": "redis://store:70000/0"}},
        {"shared": {"url": "redis://[::1/0"}},
        {"body_max_bytes": 99_000_000},
        {"accounts": [{"appid": "1", "secret_id": "2"}]},
        {"accounts": [{"appid": "1", "secret_id": "2", "example": True, "secret_key_file": "x"}]},
        {"accounts": [{"appid": "1", "secret_id": "2", "example": True}] * 2},
        {
            "accounts": [
                {"appid": "1", "secret_id": s, "example": True, "burst": b} for s, b in (("2", 5), ("3", 6))
            ]
        },
    ],
)
def test_invalid_config_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ServiceConfig.model_validate(wrong)


async def test_port_in_use_is_a_config_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = CompareService(slow_machine_config(port=taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="cannot be listened on"):
            await service.start()


def test_unreadable_certificate_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "cert.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(ConfigError):
        CompareService(slow_machine_config(cert_file=wrong, key_file=wrong))


# --- as a program ----------------------------------------------------------------------------------

PROGRAM = """
from agent.resources import config_file
from agent.service.compare_service import serve
from agent.service.settings import load_service
if __name__ == "__main__":
    serve(load_service(config_file("service.toml"), port=0, workers=2))
"""


def test_program_with_two_workers_prints_the_ready_line_and_exits_cleanly(tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        try:
            line = program.stderr.readline()
            assert line.startswith("compare service ready on http://127.0.0.1:")
            url = line.split()[-1]
            with httpx.Client(trust_env=False, timeout=60) as http:
                for _ in range(3):
                    answer = http.post(url, headers={"Authorization": sign()}, **files(PODIUM, OBAMA))
                    assert answer.json()["data"]["similarity"] > 85
        finally:
            program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0
        assert "Traceback" not in program.stderr.read()
