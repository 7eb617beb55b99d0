"""`service.state`: the reason when the unit does not serve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.config.secret_files import with_credential_sources
from agent.diagnostics.check import Finding, Verdict
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.agent import unit
from agent.errors import ConfigError
from agent.toml_layers import trial_layer
from tests.diagnostics.kit import TerminalFiles
from tests.texts import en

DOWN = "LoadState=loaded\nActiveState=activating\nSubState=start\nNRestarts=1\nResult=success\n"
BOOT = "Starting facepay-agent.service - facepay-agent: face verification terminal...\n"
AGAIN = (
    "facepay-agent.service: Scheduled restart job, restart counter is at 1.\nStopped facepay-agent.service\n"
)


@pytest.fixture
def place(tmp_path: Path) -> TerminalFiles:
    return TerminalFiles(tmp_path, "http://127.0.0.1:1/face/compare", 1)


def found(place: TerminalFiles, facts: str, journal: str = "", **changes: Any) -> Finding:
    def program(*command: str) -> str:
        return facts if command[0] == "systemctl" else journal

    inputs: CheckInputs = replace(place.inputs(program=program), **changes)
    (inputs.root / "run/systemd/system").mkdir(parents=True)
    return unit(inputs)


def test_missing_credential_file_is_named_with_the_command_that_creates_it(
    place: TerminalFiles, tmp_path: Path
) -> None:
    there, missing = tmp_path / "secret-key", tmp_path / "mqtt-password"
    there.touch()
    finding = found(place, DOWN, credentials=lambda: {"secret-key": there, "mqtt-password": missing})
    assert finding.why.endswith(f"(243/CREDENTIALS): {missing} is missing")
    assert finding.remedy and f"sudo install -m 600 /dev/null {missing}" in en(finding.remedy)


def test_status_243_is_a_credential_also_when_each_file_exists(place: TerminalFiles) -> None:
    assert "243/CREDENTIALS" in found(place, DOWN + "ExecMainStatus=243\n").why


def test_waiting_agent_with_a_wrong_config_is_a_consequence_of_config_lint(place: TerminalFiles) -> None:
    def check_runnable() -> None:
        raise ConfigError("agent.toml:1: site: wrong")

    waits = DOWN + "StatusText=config refused, waiting for a correction: config_invalid: site\n"
    finding = found(place, waits, check_runnable=check_runnable)
    assert (finding.verdict, finding.because) == (Verdict.SKIP, "config.lint")


def test_config_that_only_the_service_cannot_read_gets_the_command_for_its_group(
    place: TerminalFiles,
) -> None:
    denied = "StatusText=config refused, waiting for a correction: config_unreadable: Permission denied\n"
    finding = found(place, DOWN + denied)
    assert finding.verdict is Verdict.FAIL and "Permission denied" in finding.why
    assert finding.remedy and "sudo chgrp facepay" in en(finding.remedy)


@pytest.mark.parametrize(
    ("journal", "words"),
    [
        ("error   till: old\n" + BOOT + "info    daemon: ready\n", ""),
        (BOOT + "error   till: new\n", "; last error: error   till: new"),
        (BOOT + "model_missing: no file\n" + AGAIN + BOOT, "; last error: model_missing: no file"),
        ("error   till: old\n" + BOOT + "storage_unavailable: full\n", "storage_unavailable: full"),
    ],
    ids=["before the start", "after the start", "before a restart of systemd", "of a command"],
)
def test_last_error_is_of_the_last_start_by_a_person_or_the_boot(
    place: TerminalFiles, journal: str, words: str
) -> None:
    why = found(place, DOWN, journal).why
    assert why.endswith(words) and ("last error" in why) == bool(words) and "old" not in why


@pytest.mark.parametrize(("state", "verdict"), [("active", Verdict.WARN), ("inactive", Verdict.FAIL)])
def test_disabled_unit_gets_the_command_that_enables_it(
    place: TerminalFiles, state: str, verdict: Verdict
) -> None:
    facts = DOWN.replace("activating", state) + "UnitFileState=disabled\nWatchdogUSec=30s\n"
    finding = found(place, facts)
    assert finding.verdict is verdict and "disabled" in finding.why
    assert finding.remedy and "systemctl enable --now facepay-agent" in en(finding.remedy)


def test_unit_of_a_try_is_not_to_be_enabled(place: TerminalFiles) -> None:
    """The next boot would serve payers with a simulated camera."""
    trial = trial_layer(place.write())
    trial.parent.mkdir()
    trial.touch()
    finding = found(
        place, DOWN.replace("activating", "active") + "UnitFileState=disabled\nWatchdogUSec=30s\n"
    )
    assert finding.verdict is Verdict.WARN and "simulated camera" in finding.why
    assert finding.remedy and "init --try --undo" in en(finding.remedy)


def test_folder_of_the_config_without_a_right_to_read_is_no_defect(
    place: TerminalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`facepay doctor` without sudo: Python 3.11 raises where the folder cannot be searched."""
    trial = trial_layer(place.write())
    real = Path.exists

    def exists(self: Path) -> bool:
        if self == trial:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "exists", exists)
    finding = found(place, DOWN.replace("activating", "active") + "UnitFileState=enabled\nWatchdogUSec=30s\n")
    assert finding.verdict is Verdict.PASS


def test_with_credential_sources_replaces_only_credentials_that_do_not_exist(tmp_path: Path) -> None:
    credential = Path("/run/credentials/facepay-agent.service/secret-key")
    config = Config.model_validate(
        {"compare": {"secret_key_file": credential}, "mqtt": {"password_file": tmp_path / "password"}}
    )
    source = tmp_path / "source"
    replaced = with_credential_sources(config, {"secret-key": source, "password": source})
    assert replaced.compare.secret_key_file == source
    assert replaced.mqtt.password_file == tmp_path / "password"
    assert with_credential_sources(config, {}) == config
