"""The agent does not start with secrets that other users can read or replace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config import Config
from agent.config import secret_files as secrets
from agent.config.secret_files import check_secret_files, file_stamps
from agent.errors import ConfigError
from tests.texts import en


def config(path: Path, *, profile: str = "shop") -> Config:
    return Config.model_validate(
        {"profile": profile, "compare": {"secret_key_file": path}, "mqtt": {"password_file": path}}
    )


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("a secret")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_check_secret_files_accepts_private_modes(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    check_secret_files(config(secret))


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o666])
def test_check_secret_files_refuses_modes_for_every_user(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        check_secret_files(config(secret))
    assert caught.value.code == "secret_exposed"
    assert "compare.secret_key_file" in str(caught.value)
    assert str(secret) in en(caught.value.fix)
    assert "a secret" not in f"{caught.value}{caught.value.fix}"


def test_check_secret_files_refuses_another_owner(secret: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change an owner")
    os.chown(secret, 12_345, -1)
    with pytest.raises(ConfigError, match="12345"):
        check_secret_files(config(secret))


def test_check_secret_files_accepts_profile_demo_and_missing_files(secret: Path) -> None:
    secret.chmod(0o644)
    check_secret_files(config(secret, profile="demo"))
    check_secret_files(config(secret.with_name("nowhere")))


def test_stamps_differ_after_each_change_and_hold_no_file_of_another_user(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of [mqtt] are read for each connection; a credential of systemd stays until the next start."""
    authority = tmp_path / "ca.pem"
    authority.write_text("a certificate")
    credential = Path("/run/credentials/facepay-agent.service/page-token")
    read = Config.model_validate(
        {
            "compare": {"secret_key_file": secret, "ca_file": authority},
            "mqtt": {"password_file": secret},
            "page": {"token_file": credential},
        }
    )
    first = file_stamps(read)
    assert set(first) == {"compare.secret_key_file", "compare.ca_file"} and first == file_stamps(read)
    for path in (secret, authority):  # the same content again: a new secret file, an equal certificate
        copy = tmp_path / "copy"
        copy.write_bytes(path.read_bytes())
        copy.replace(path)
    second = file_stamps(read)
    assert second["compare.secret_key_file"] != first["compare.secret_key_file"]
    assert second["compare.ca_file"] == first["compare.ca_file"]
    authority.write_text("another certificate")
    assert file_stamps(read)["compare.ca_file"] != first["compare.ca_file"]
    authority.unlink()
    second = file_stamps(read)
    assert second["compare.secret_key_file"] != first["compare.secret_key_file"]
    assert second["compare.ca_file"] == "" != first["compare.ca_file"]

    def deny(path: Path, **_: bool) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(secrets, "file_stamp", deny)
    monkeypatch.setattr(secrets, "read_plain", lambda path, *_, **__: deny(path))
    assert file_stamps(read) == {}
