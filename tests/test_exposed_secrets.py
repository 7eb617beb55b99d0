"""Each command refuses a page token or an API key that every user of the machine can read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.config import Config
from agent.config.file import load
from agent.health.condition_tracker import ConditionTracker
from agent.root.reload import Reload
from tests.commands import facepay
from tests.test_runnable_config import is_refused_by_run

KEY = "page.token_file"
CHECKS = "keys.files,keys.permissions"
RISKS = ["plain_mqtt", "plain_http_compare", "replay_camera", "liveness_off"]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return _secret(tmp_path / "token", 0o600)


@pytest.fixture
def config(tmp_path: Path, token: Path) -> Path:
    """A config of profile shop that every command accepts."""
    (tmp_path / "state").mkdir(mode=0o700)
    path = tmp_path / "agent.toml"
    path.write_text(
        f'profile = "shop"\nsite = "s-1"\nterminal = "t-1"\naccepted_risks = {RISKS}\n'
        "inline_reference = true\n"
        f'[compare]\nappid = "1"\nsecret_id = "a"\nsecret_key_file = "{_secret(tmp_path / "key", 0o600)}"\n'
        f'[mqtt]\nport = 9\n[page]\nlisten = "loopback"\ntoken_file = "{token}"\n'
        f'[storage]\ndirectory = "{tmp_path / "state"}"\n'
    )
    path.chmod(0o640)
    return path


def _secret(path: Path, mode: int) -> Path:
    path.write_text("0123456789abcdef0123456789abcdef")
    path.chmod(mode)
    return path


def _refused_by_reload(path: Path, in_force: Config) -> str:
    """Why a serving agent with ``in_force`` refuses the file; empty when it accepts the file."""
    conditions = ConditionTracker(lambda: 0)
    terminal = SimpleNamespace(conditions=conditions, epoch="e", apply_settings=lambda *_: None)
    reload = Reload(in_force, cast(Any, terminal), cast(Any, None), cast(Any, None))
    asyncio.run(reload.apply_file(path))
    assert [each.code for each in conditions.causes] == (["config_refused"] if reload.refused else [])
    return str(reload.refused or "")


def _doctor(path: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    done = facepay("doctor", "--config", path, "--only", CHECKS, "--json")
    rows = json.loads(done.stdout)["checks"]
    return done.returncode, {row["id"]: (row["verdict"], row["why"]) for row in rows}


def test_run_check_reload_and_doctor_refuse_the_same_page_token(config: Path, token: Path) -> None:
    in_force = load(config, Config)
    assert facepay("config", "check", "--config", config).returncode == 0
    assert _refused_by_reload(config, in_force) == ""
    code, found = _doctor(config)
    assert code == 0 and found["keys.permissions"][0] == "pass", found

    token.chmod(0o644)
    why = f"{KEY}: {token}: every user can read or change it (mode 0644)"
    assert is_refused_by_run(config).endswith(why)
    checked = facepay("config", "check", "--config", config)
    assert checked.returncode == 78 and why in checked.stderr
    assert _refused_by_reload(config, in_force).endswith(why)
    code, found = _doctor(config)
    assert code == 2 and found["keys.permissions"] == ("fail", f"secret_exposed: {why}"), found


def test_init_reports_an_exposed_key_that_exists_already(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir(mode=0o700)
    key = _secret(tmp_path / "credentials" / "secret-key", 0o644)
    flags = ("--yes", "--profile", "shop", "--site", "s-1", "--terminal", "t-1", "--camera", "replay:empty")
    account = (
        "--appid",
        "1",
        "--bucket",
        "b",
        "--secret-id",
        "a",
        "--storage",
        tmp_path / "state",
        "--photos",
        "inline",
    )
    servers = ("--broker", "mqtt://127.0.0.1:9", "--api", "http://127.0.0.1:9/face/compare")
    accept = [option for risk in RISKS for option in ("--accept", risk)]
    done = facepay("init", "--config", tmp_path / "agent.toml", *flags, *account, *servers, *accept)
    assert done.returncode == 2 and "✗ keys.permissions" in done.stdout, done.stdout + done.stderr
    assert f"{key}: every user can read or change it" in done.stdout.replace("\n", " ")
