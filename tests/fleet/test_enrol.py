"""From a keyless image to a terminal whose certificate the shipped broker example takes."""

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
from tests.broker_example.pki import Authority
from tests.broker_example.test_rights import Client, Shop, online
from tests.broker_example.test_rights import running as broker_running
from tests.e2e.test_keys import facepay
from tests.fleet.desk import Desk, serving

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


async def test_a_keyless_image_becomes_a_terminal_that_the_broker_example_takes(
    config: Path, token: Path, tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    desk = Desk(shop.ca, TOKEN)
    with serving(desk) as url:
        done = facepay(
            "enrol", "--url", url, "--token-file", token, "--terminal", "terminal-1", "--config", config
        )
    assert done.returncode == 0 and "enrolled as shop-1/terminal-1" in done.stdout, done
    key = config.parent / "credentials" / "terminal-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    taken = load(config, Config)
    assert (taken.site, taken.terminal, taken.mqtt.tls) == ("shop-1", "terminal-1", True)
    assert "# for now" in config.read_text(), "what the operator wrote stays"
    signer = Signer.load(config.parent / "state" / "signing-key.pem")
    asked = desk.asked[0]
    assert asked["signing_key"]["sha256"] == signer.fingerprint
    assert "PRIVATE" not in str(asked) and TOKEN not in done.stdout + done.stderr
    with broker_running(shop):
        mqtt = taken.mqtt.model_copy(update={"port": shop.port})
        client = Client(mqtt, ["facepay/v1/shop-1/terminal-1/verify/+/request"])
        async with online(client):
            assert client.link.connected


def test_a_token_is_good_once_and_a_second_try_keeps_the_key(
    config: Path, token: Path, tmp_path: Path
) -> None:
    with serving(Desk(Authority(tmp_path, "ca"), TOKEN)) as url:
        arguments = ("enrol", "--url", url, "--token-file", token, "--terminal", "t-1", "--config", config)
        assert facepay(*arguments).returncode == 0
        key = (config.parent / "credentials/terminal-key.pem").read_bytes()
        before = config.read_text()
        again = facepay(*arguments)
        assert again.returncode == 1 and again.stderr.startswith("enrolment_refused"), again
        assert "处理" in again.stderr and TOKEN not in again.stderr
    assert (config.parent / "credentials/terminal-key.pem").read_bytes() == key
    assert config.read_text() == before


def another_ones(answer: dict[str, Any], folder: Path, common_name: str) -> dict[str, Any]:
    return answer | {"certificate": Authority(folder, "elsewhere").issue(common_name).cert.read_text()}


def of_version_8(pem: str) -> str:
    der = ssl.PEM_cert_to_DER_cert(pem)
    return ssl.DER_cert_to_PEM_cert(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda answer, folder: another_ones(answer, folder, "t-1"), "enrolment_unfit"),
        (lambda answer, folder: answer | {"ca": Authority(folder, "x").path.read_text()}, "enrolment_unfit"),
        (lambda answer, folder: answer | {"certificate": "no pem"}, "enrolment_unfit"),
        (lambda answer, folder: answer | {"terminal": "t-2"}, "enrolment_failed"),
        (lambda answer, folder: answer | {"site": "../up"}, "enrolment_failed"),
        (lambda answer, folder: {"site": "shop-1"}, "enrolment_failed"),
        (lambda answer, folder: b"<html>", "enrolment_failed"),
        (lambda answer, folder: b"x" * 100_000, "enrolment_failed"),
        (lambda answer, folder: answer | {"ca": of_version_8(answer["ca"])}, "enrolment_unfit"),
    ],
    ids=[
        "another key",
        "another authority",
        "no pem",
        "renames us",
        "a path",
        "half",
        "html",
        "huge",
        "no version",
    ],
)
def test_an_answer_that_does_not_fit_installs_nothing(
    config: Path, token: Path, tmp_path: Path, spoil: Callable[[Any, Path], Any], code: str
) -> None:
    desk, before = Desk(Authority(tmp_path, "ca"), TOKEN), config.read_text()
    desk.spoil = lambda answer: spoil(answer, tmp_path)
    with serving(desk) as url:
        done = facepay("enrol", "--url", url, "--token-file", token, "--terminal", "t-1", "--config", config)
    assert done.returncode == 1 and done.stderr.startswith(f"{code}: "), done.stderr
    assert config.read_text() == before and not (config.parent / "terminal.pem").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["http://fleet.example/enrol", "ftp://127.0.0.1/", "nonsense", "http://[::1"])
def test_a_token_is_not_sent_where_it_could_be_read(config: Path, token: Path, url: str) -> None:
    done = facepay("enrol", "--url", url, "--token-file", token, "--terminal", "t-1", "--config", config)
    assert done.returncode == 1 and done.stderr.startswith("enrolment_insecure"), done.stderr


def test_what_an_address_may_hold_is_not_repeated(config: Path, token: Path) -> None:
    for url in (
        "https://desk:pass-4712@127.0.0.1:1/",
        "https://127.0.0.1:1/?key=pass-4712",
    ):
        done = facepay("enrol", "--url", url, "--token-file", token, "--terminal", "t", "--config", config)
        assert done.returncode == 1 and done.stderr.startswith("enrolment_"), done.stderr
        assert "pass-4712" not in done.stderr and "Traceback" not in done.stderr


def test_nobody_there_leaves_the_token_good(config: Path, token: Path) -> None:
    done = facepay(
        "enrol", "--url", "https://127.0.0.1:1/", "--token-file", token, "--terminal", "t", "--config", config
    )
    assert done.returncode == 1 and done.stderr.startswith("enrolment_unreachable"), done.stderr


def test_an_operator_with_an_authority_of_his_own_needs_no_desk(config: Path, tmp_path: Path) -> None:
    who = ("--site", "shop-1", "--terminal", "t-9", "--config", config)
    asked = facepay("enrol", "--csr-only", *who)
    assert asked.stdout.startswith("-----BEGIN CERTIFICATE REQUEST-----"), asked
    desk = Desk(Authority(tmp_path, "own-ca"), TOKEN)
    body = {"token": TOKEN, "csr": asked.stdout, "site": "shop-1", "terminal": "t-9"}
    _, answer = desk.answer(body)
    (tmp_path / "signed.pem").write_text(answer["certificate"])
    done = facepay("enrol", "--install", tmp_path / "signed.pem", "--ca", tmp_path / "own-ca.pem", *who)
    assert done.returncode == 0, done
    assert load(config, Config).mqtt.key_file == config.parent / "credentials" / "terminal-key.pem"


def test_the_packages_empty_placeholder_is_no_key(config: Path) -> None:
    key = config.parent / "credentials" / "terminal-key.pem"
    key.parent.mkdir(mode=0o700)
    key.touch(mode=0o600)
    assert facepay("enrol", "--csr-only", "--terminal", "t", "--config", config).returncode == 0
    assert b"PRIVATE KEY" in key.read_bytes()
    made = key.read_bytes()
    assert facepay("enrol", "--csr-only", "--terminal", "t", "--config", config).returncode == 0
    assert key.read_bytes() == made, "a key that is there is kept"


def test_there_is_an_example() -> None:
    assert "facepay enrol --url" in facepay("enrol", "--help").stdout
