"""Enrolment: from an image without keys to a terminal that the shipped broker example accepts."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.config.file import load
from agent.messages.signing import Signer
from agent.resources import config_file
from tests.broker_example.pki import Authority
from tests.broker_example.test_rights import Client, Shop, online
from tests.broker_example.test_rights import running as broker_running
from tests.e2e.test_keys import facepay
from tests.fleet.enrolment_server import EnrolmentServer, running_server

TOKEN = "only-once-4711"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "terminal" / "agent.toml"
    path.parent.mkdir()
    path.write_text(f'profile = "demo"  # for now\n[storage]\ndirectory = "{path.parent / "state"}"\n')
    return path


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


async def test_an_enrolled_terminal_connects_to_the_broker_example(
    config: Path, token: Path, tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    server = EnrolmentServer(shop.ca, TOKEN)
    with running_server(server) as url:
        done = facepay(
            "enrol", "--url", url, "--token-file", token, "--terminal", "terminal-1", "--config", config
        )
    assert done.returncode == 0 and "enrolled as shop-1/terminal-1" in done.stdout, done
    key = config.parent / "credentials" / "terminal-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    loaded = load(config, Config)
    assert (loaded.site, loaded.terminal, loaded.mqtt.tls) == ("shop-1", "terminal-1", True)
    assert "# for now" in config.read_text(), "the operator's comment is kept"
    signer = Signer.load(config.parent / "state" / "signing-key.pem")
    request = server.requests[0]
    assert request["signing_key"]["sha256"] == signer.fingerprint
    assert "PRIVATE" not in str(request) and TOKEN not in done.stdout + done.stderr
    with broker_running(shop):
        mqtt = loaded.mqtt.model_copy(update={"port": shop.port})
        client = Client(mqtt, ["facepay/v1/shop-1/terminal-1/verify/+/request"])
        async with online(client):
            assert client.connection.is_connected


def test_a_token_is_valid_once_and_a_second_attempt_keeps_the_key(
    config: Path, token: Path, tmp_path: Path
) -> None:
    with running_server(EnrolmentServer(Authority(tmp_path, "ca"), TOKEN)) as url:
        arguments = ("enrol", "--url", url, "--token-file", token, "--terminal", "t-1", "--config", config)
        assert facepay(*arguments).returncode == 0
        key = (config.parent / "credentials/terminal-key.pem").read_bytes()
        before = config.read_text()
        again = facepay(*arguments)
        assert again.returncode == 1 and again.stderr.startswith("enrolment_refused"), again
        assert "处理" in again.stderr and TOKEN not in again.stderr
    assert (config.parent / "credentials/terminal-key.pem").read_bytes() == key
    assert config.read_text() == before


def for_another_key(answer: dict[str, Any], folder: Path, common_name: str) -> dict[str, Any]:
    return answer | {"certificate": Authority(folder, "elsewhere").issue(common_name).cert.read_text()}


def with_version_8(pem: str) -> str:
    der = ssl.PEM_cert_to_DER_cert(pem)
    return ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1))


@pytest.mark.parametrize(
    ("change_answer", "code"),
    [
        (lambda answer, folder: for_another_key(answer, folder, "t-1"), "enrolment_unfit"),
        (lambda answer, folder: answer | {"ca": Authority(folder, "x").path.read_text()}, "enrolment_unfit"),
        (lambda answer, folder: answer | {"certificate": "no pem"}, "enrolment_unfit"),
        (lambda answer, folder: answer | {"terminal": "t-2"}, "enrolment_failed"),
        (lambda answer, folder: answer | {"site": "../up"}, "enrolment_failed"),
        (lambda answer, folder: {"site": "shop-1"}, "enrolment_failed"),
        (lambda answer, folder: b"<html>", "enrolment_failed"),
        (lambda answer, folder: b"x" * 100_000, "enrolment_failed"),
        (lambda answer, folder: answer | {"ca": with_version_8(answer["ca"])}, "enrolment_unfit"),
    ],
    ids=[
        "another key",
        "another authority",
        "no pem",
        "another terminal",
        "a path",
        "incomplete",
        "html",
        "huge",
        "no version",
    ],
)
def test_an_invalid_answer_installs_nothing(
    config: Path, token: Path, tmp_path: Path, change_answer: Callable[[Any, Path], Any], code: str
) -> None:
    server, before = EnrolmentServer(Authority(tmp_path, "ca"), TOKEN), config.read_text()
    server.change_answer = lambda answer: change_answer(answer, tmp_path)
    with running_server(server) as url:
        done = facepay("enrol", "--url", url, "--token-file", token, "--terminal", "t-1", "--config", config)
    assert done.returncode == 1 and done.stderr.startswith(f"{code}: "), done.stderr
    assert config.read_text() == before and not (config.parent / "terminal.pem").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "http://fleet.example/enrol",
        "ftp://127.0.0.1/",
        "nonsense",
        "http://[::1",
        "https://xn--a/",
        "https://xn--9/",
    ],
)
def test_a_token_is_not_sent_over_an_insecure_url(config: Path, token: Path, url: str) -> None:
    done = facepay("enrol", "--url", url, "--token-file", token, "--terminal", "t-1", "--config", config)
    assert done.returncode == 1 and done.stderr.startswith("enrolment_insecure"), done.stderr


def test_a_secret_in_the_url_is_not_printed(config: Path, token: Path) -> None:
    for url in ("https://desk:pass-4712@127.0.0.1:1/", "https://127.0.0.1:1/?key=pass-4712"):
        done = facepay("enrol", "--url", url, "--token-file", token, "--terminal", "t", "--config", config)
        assert done.returncode == 1 and done.stderr.startswith("enrolment_"), done.stderr
        assert "pass-4712" not in done.stderr and "Traceback" not in done.stderr


def test_an_unreachable_server_is_reported_as_unreachable(config: Path, token: Path) -> None:
    done = facepay(
        "enrol", "--url", "https://127.0.0.1:1/", "--token-file", token, "--terminal", "t", "--config", config
    )
    assert done.returncode == 1 and done.stderr.startswith("enrolment_unreachable"), done.stderr


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ((), "enrolment_incomplete"),
        (("--url", "https://127.0.0.1:9/enrol"), "enrolment_incomplete"),  # the token is empty
        (("--url", "http://fleet.example/enrol"), "enrolment_insecure"),
        (("--install", "no.pem"), "enrolment_incomplete"),
        (("--install", "{empty}", "--ca", "{empty}", "--site", "s"), "enrolment_incomplete"),  # without a key
    ],
)
def test_a_refused_command_makes_no_key(
    config: Path, tmp_path: Path, way: tuple[str, ...], code: str
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    options = (word.format(empty=empty) for word in way)
    done = facepay("enrol", *options, "--token-file", empty, "--config", config)
    assert done.returncode == 1 and done.stderr.startswith(code), done
    assert list(config.parent.iterdir()) == [config]


def test_an_operator_with_an_own_authority_needs_no_enrolment_server(config: Path, tmp_path: Path) -> None:
    options = ("--site", "shop-1", "--terminal", "t-9", "--config", config)
    asked = facepay("enrol", "--csr-only", *options)
    assert asked.stdout.startswith("-----BEGIN CERTIFICATE REQUEST-----"), asked
    server = EnrolmentServer(Authority(tmp_path, "own-ca"), TOKEN)
    body = {"token": TOKEN, "csr": asked.stdout, "site": "shop-1", "terminal": "t-9"}
    _, answer = server.answer(body)
    (tmp_path / "signed.pem").write_text(answer["certificate"])
    done = facepay("enrol", "--install", tmp_path / "signed.pem", "--ca", tmp_path / "own-ca.pem", *options)
    assert done.returncode == 0, done
    assert load(config, Config).mqtt.key_file == config.parent / "credentials" / "terminal-key.pem"


def test_the_config_of_the_package_is_not_edited(config: Path, tmp_path: Path) -> None:
    shipped = config_file("agent.toml").read_bytes()
    config.write_bytes(shipped)
    own = config.parent / "agent.d" / "50-terminal.toml"
    own.parent.mkdir()
    own.write_text('# mine\naccepted_risks = ["liveness_off"]\n[mqtt]\nhost = "broker.example"\n')
    options = ("--site", "shop-1", "--terminal", "t-1", "--config", config)
    request = facepay("enrol", "--csr-only", *options).stdout
    server = EnrolmentServer(Authority(tmp_path, "own-ca"), TOKEN)
    _, answer = server.answer({"token": TOKEN, "csr": request, "site": "shop-1", "terminal": "t-1"})
    (tmp_path / "signed.pem").write_text(answer["certificate"])
    done = facepay("enrol", "--install", tmp_path / "signed.pem", "--ca", tmp_path / "own-ca.pem", *options)
    assert done.returncode == 0 and str(own) in done.stdout, done
    loaded = load(config, Config)
    assert (loaded.site, loaded.terminal) == ("shop-1", "t-1")
    assert (loaded.mqtt.host, loaded.mqtt.tls) == ("broker.example", True)
    assert loaded.accepted_risks == ("liveness_off",) and own.read_text().count("# mine") == 1
    assert config.read_bytes() == shipped


def test_the_ids_of_a_try_get_no_certificate(config: Path) -> None:
    trial = config.parent / "agent.d" / "90-try.toml"
    trial.parent.mkdir()
    trial.write_text('site = "try"\n')
    done = facepay("enrol", "--csr-only", "--terminal", "t-1", "--config", config)
    assert done.returncode == 78 and done.stderr.startswith("try_active") and "--undo" in done.stderr


def test_the_empty_placeholder_file_of_the_package_is_replaced_by_a_key(config: Path) -> None:
    key = config.parent / "credentials" / "terminal-key.pem"
    key.parent.mkdir(mode=0o700)
    key.touch(mode=0o600)
    assert facepay("enrol", "--csr-only", "--terminal", "t", "--config", config).returncode == 0
    assert b"PRIVATE KEY" in key.read_bytes()
    made = key.read_bytes()
    assert facepay("enrol", "--csr-only", "--terminal", "t", "--config", config).returncode == 0
    assert key.read_bytes() == made, "an existing key is kept"


def test_help_has_an_example() -> None:
    assert "facepay enrol --url" in facepay("enrol", "--help").stdout
