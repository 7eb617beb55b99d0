"""The command line in real processes, with real exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.config import STORAGE
from agent.config import StorageConfig
from agent.resources import data
from tests.commands import facepay

PHOTOS = data("photos")


COMMANDS = [
    ["run"],
    ["demo"],
    ["service"],
    ["compare"],
    ["compare", "conformance"],
    ["reference", "check"],
    ["till", "ask"],
    ["till", "watch"],
    ["config", "check"],
    ["config", "show"],
    ["status"],
    ["doctor"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_each_command_has_an_example(command: list[str]) -> None:
    shown = facepay(*command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Example:" in shown.stdout
    assert f"facepay {' '.join(command)}" in shown.stdout
    assert "--json" in shown.stdout


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['facepay', '--help']\n"
        "from agent.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'cv2', 'numpy', 'httpx', 'paho', 'pydantic', 'uvicorn', 'joserfc'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_broken_config_is_one_sentence_a_fix_in_two_languages_and_exit_78(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("site = 's'\n[mqtt]\nhots = 'x'\n")
    for command in (["config", "check"], ["run"]):
        done = facepay(*command, "--config", path)
        assert done.returncode == 78
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert lines[0] == f"config_invalid: {path}:3: mqtt.hots: unknown key"
        starts = ["fix: ", "原因: ", "处理: "]
        assert [line[: len(start)] for line, start in zip(lines[1:], starts, strict=True)] == starts


def test_shop_profile_refuses_risks_that_are_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("profile = 'shop'\n")
    done = facepay("config", "check", "--config", path)
    assert done.returncode == 78 and "plain_mqtt" in done.stderr
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    secret.chmod(0o600)
    path.write_text(
        "accepted_risks = ['plain_mqtt', 'plain_http_compare', 'replay_camera', 'liveness_off']\n"
        "site = 'shop-1'\nterminal = 'till-2'\ninline_reference = true\n"
        f"[compare]\nappid = '1'\nsecret_id = 'a'\nsecret_key_file = '{secret}'\n"
    )
    done = facepay("config", "check", "--config", path)
    assert done.returncode == 0, done.stderr
    path.write_text("accepted_risks = ['plain_mqt']\n")
    assert "no risk 'plain_mqt'" in facepay("config", "check", "--config", path).stderr


def test_the_demo_profile_stays_on_loopback(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("profile = 'demo'\n[mqtt]\nhost = 'broker.example'\n")
    done = facepay("config", "check", "--config", path)
    assert done.returncode == 78 and "loopback" in done.stderr


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("obama_portrait", "obama_podium", 0), ("obama_portrait", "biden_portrait", 1)],
    ids=["the same person", "two persons"],
)
def test_compare_two_photos(first: str, second: str, code: int) -> None:
    done = facepay("compare", PHOTOS / f"{first}.jpg", PHOTOS / f"{second}.jpg", "--json")
    assert done.returncode == code, done.stderr
    answer = json.loads(done.stdout)
    assert answer["same_person"] is (code == 0)
    assert 0 <= answer["similarity"] <= 100


def test_a_photo_without_a_face_is_one_clear_error() -> None:
    done = facepay("compare", PHOTOS / "obama_portrait.jpg", PHOTOS / "enrolled" / "no_face.jpg")
    assert done.returncode == 1
    assert done.stderr.startswith("reference_unusable: ") and "Traceback" not in done.stderr


def test_missing_file_is_named_in_the_error() -> None:
    done = facepay("compare", "missing.jpg", "nothing.jpg")
    assert done.returncode == 1 and done.stderr.startswith("file_unreadable: missing.jpg")
    assert "\nfix: " in done.stderr and "\n处理: " in done.stderr


def test_status_reads_only_the_state_directory_from_the_config(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[mqtt]\nhots = 'x'\n[storage]\ndirectory = '{tmp_path / 'state'}'\n")
    done = facepay("status", "--config", path)
    assert done.returncode == 3 and str(tmp_path / "state" / "status.sock") in done.stderr
    for broken in ("storage = 1", "[storage]\ndirectory = 7", "[storage", "\x00"):
        path.write_text(broken)
        assert facepay("status", "--config", path).returncode == 78, "there one must know the file"


def test_status_imports_no_heavy_module(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[storage]\ndirectory = '{tmp_path}'\n")
    code = (
        f"import sys; sys.argv = ['facepay', 'status', '--config', {str(path)!r}]\n"
        "from agent.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'cv2', 'numpy', 'httpx', 'paho', 'rich', 'uvicorn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_default_state_directory_equals_the_config_default() -> None:
    assert Path(STORAGE) == StorageConfig().directory
