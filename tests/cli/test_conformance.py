"""`facepay compare conformance` in real processes; `facepay compare` with two photos needs no subcommand."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from agent.service.settings import EXAMPLE_SECRET
from tests.cli.test_cli import PHOTOS
from tests.commands import facepay
from tests.compare.servers import SUCCESS, endpoint, http, replies
from tests.service.kit import APPID, BUCKET, SECRET_ID, running, slow_machine_config


def test_the_embedded_service_passes_everything() -> None:
    done = facepay("compare", "conformance", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"] == {"pass": len(report["rows"]), "differs": 0, "not offered": 0}
    assert {row["group"] for row in report["rows"]} == {"answer", "form", "signature", "mistake"}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(EXAMPLE_SECRET + b"\n")
    return path


def test_an_account_given_by_options_and_the_table_for_people(key_file: Path) -> None:
    with running(slow_machine_config(download_hosts=("localhost",))) as service:
        done = facepay(
            *("compare", "conformance", "--url", service.url, "--appid", APPID, "--secret-id", SECRET_ID),
            *("--secret-key-file", key_file, "--bucket", BUCKET),
        )
    assert done.returncode == 0, done.stderr
    assert "pass     form       two urls as JSON" in done.stdout
    assert " 0 differs, 0 not offered" in done.stdout
    assert EXAMPLE_SECRET.decode() not in done.stdout + done.stderr


async def test_one_difference_is_exit_1_and_the_config_names_the_account(
    tmp_path: Path, key_file: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[compare]\nappid = "{APPID}"\nsecret_id = "{SECRET_ID}"\nsecret_key_file = "{key_file}"\n'
    )
    async with endpoint(replies(http(SUCCESS))) as server:
        done = await asyncio.to_thread(
            facepay, "compare", "conformance", "--url", server.url(), "--config", config, "--json"
        )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["summary"]["differs"] > 30


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--url", "http://127.0.0.1:9/face/compare"], 78, "account_missing: an account is needed"),
        (["--config", "/nowhere.toml"], 78, "config_unreadable"),
        (
            [*["--url", "http://a/", "--appid", "1", "--secret-id", "2", "--secret-key-file", "/none"]],
            1,
            "compare_credentials",
        ),
    ],
)
def test_conformance_without_an_account_is_two_lines(arguments: list[str], code: int, words: str) -> None:
    done = facepay("compare", "conformance", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(words) and "Traceback" not in done.stderr


def test_conformance_without_a_server_is_one_error(key_file: Path) -> None:
    done = facepay(
        *("compare", "conformance", "--url", "http://127.0.0.1:9/face/compare", "--appid", APPID),
        *("--secret-id", SECRET_ID, "--secret-key-file", key_file),
    )
    assert done.returncode == 1 and done.stderr.startswith("compare_unreachable: ")


def test_help_shows_the_command_as_typed() -> None:
    photos, conformance = facepay("compare", "--help"), facepay("compare", "conformance", "--help")
    assert " compare  [OPTIONS]" in photos.stdout and "compare photos" not in photos.stdout
    assert "A.jpg" in photos.stdout and "facepay compare conformance" in photos.stdout
    assert "Example:" in conformance.stdout and "--json" in conformance.stdout
    assert facepay("compare").returncode == 2


def test_options_may_stand_before_the_photos_and_a_photo_may_be_called_like_a_command(tmp_path: Path) -> None:
    shutil.copy(PHOTOS / "obama_podium.jpg", tmp_path / "conformance")
    done = facepay("compare", "--json", "./conformance", PHOTOS / "obama_portrait.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["same_person"] is True


def test_the_embedded_service_passes_everything_of_compareface() -> None:
    done = facepay("compare", "conformance", "--provider", "compareface_2020", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"] == {"pass": len(report["rows"]), "differs": 0, "not offered": 0}
    assert "score" in report["rows"][0]["reason"] and "packages" in report["not_checked"]
