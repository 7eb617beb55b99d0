"""``facepay init --try``: a request that ends in a match, and no trace of it after its end."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.cli import init_try
from agent.config import Config
from agent.config.file import load
from agent.demo.demo_system import Visit, VisitRow
from agent.fleet import terminal_paths
from agent.fleet.terminal_paths import TerminalPaths
from agent.kits.till.acceptance import Acceptance
from agent.resources import config_file
from agent.service.settings import EXAMPLE_SECRET
from tests import commands
from tests.e2e.test_keys import facepay


@pytest.fixture
def paths(tmp_path: Path) -> TerminalPaths:
    """A terminal as the package installs it."""
    config = tmp_path / "agent.toml"
    config.write_bytes(config_file("agent.toml").read_bytes())
    found = TerminalPaths(config)
    found.write_secret("secret-key", b"")
    return found


# facepay that waits longer for a busy broker
PATIENT_TILL = """
import agent.mqtt.publisher
from agent.cli import main
agent.mqtt.publisher.PUBACK_TIMEOUT_S = 60.0
main()
"""


def test_a_try_without_root_ends_in_a_match_and_writes_nothing(paths: TerminalPaths) -> None:
    before = {path: path.read_bytes() for path in paths.config.parent.rglob("*") if path.is_file()}
    done = commands.facepay("init", "--try", "--config", paths.config, code=PATIENT_TILL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("match/same_person, similarity ") and "signature valid" in done.stdout
    assert "wrote nothing" in done.stdout and "facepay init " in done.stdout
    after = {path: path.read_bytes() for path in paths.config.parent.rglob("*") if path.is_file()}
    assert after == before


NEXT_STEPS_AS_NOBODY = """
import os, sys
from pathlib import Path
from agent.cli import init_try
from agent.fleet.terminal_paths import TerminalPaths
import agent.service.settings
os.setgid(65534)
os.setuid(65534)
print(init_try.next_steps(TerminalPaths(Path(sys.argv[1]))))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_try_of_a_user_without_rights_ends_with_the_next_steps() -> None:
    """As after the installation: only root may read the credentials, and no other user agent.toml."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # pytest's own folder is closed to others
        Path(name).chmod(0o755)
        found = TerminalPaths(Path(name, "agent.toml"))
        found.write_secret("secret-key", b"")
        found.config.write_bytes(config_file("agent.toml").read_bytes())
        found.config.chmod(0o640)
        done = commands.facepay(found.config, code=NEXT_STEPS_AS_NOBODY)
    assert done.returncode == 0 and "sudo facepay init " in done.stdout, done


@pytest.mark.parametrize(
    ("reasons", "result"),
    [
        (["same_person"], "same_person"),
        (["face_lost", "same_person"], "same_person"),
        (["compare_unreachable", "timed_out"], "timed_out"),
        (["different_person"], "different_person"),
        (["compare_credentials"], "compare_credentials"),
    ],
)
async def test_a_try_asks_a_second_time_only_where_the_machine_was_too_slow(
    reasons: list[str], result: str
) -> None:
    asked = iter(reasons)

    async def ask() -> Acceptance:
        reason = next(asked)
        return Acceptance("match" if reason == "same_person" else "undecided", reason, "r")

    assert (await init_try.with_second_try(ask)).reason == result
    assert list(asked) == [], "each expected request was sent"


def test_a_try_gives_a_slow_machine_the_time_of_the_packaged_try(paths: TerminalPaths) -> None:
    """Both ways show a person who stays, with the same deadlines."""
    storage = paths.config.parent / "state" / "try"
    storage.parent.mkdir()
    init_try.write_trial_config(paths, storage)
    packaged = load(paths.config, Config)
    seen = list[Config]()

    class Stage:
        async def play(self, visit: Visit) -> VisitRow:
            assert visit.scene == packaged.camera.source and visit.ttl_ms == packaged.verification.budget_ms
            return VisitRow(visit, Acceptance("match", "same_person", "r"), 1)

    @asynccontextmanager
    async def running_demo(config: Config) -> AsyncIterator[Stage]:
        assert config.verification == packaged.verification
        seen.append(config)
        yield Stage()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.demo.demo_system.running_demo", running_demo)
        assert asyncio.run(init_try._in_this_process()).decision == "match"
    assert seen


def test_the_keys_of_a_try_may_run_and_undo_restores_the_installation(paths: TerminalPaths) -> None:
    storage = paths.config.parent / "state" / "try"
    storage.parent.mkdir()
    shipped = paths.config.read_bytes()
    for _ in range(2):  # a second try is the same
        init_try.write_trial_config(paths, storage)
        loaded = load(paths.config, Config)
        assert (loaded.profile, loaded.site, loaded.storage.directory) == ("demo", "try", storage)
        assert not init_try.is_configured(paths)
    assert paths.config.read_bytes() == shipped
    assert init_try.undo(paths) and not init_try.undo(paths)
    assert not storage.exists() and not paths.trial.exists()
    assert load(paths.config, Config) == Config().model_copy(
        update={"compare": load(paths.config, Config).compare}
    )
    assert paths.secret("secret-key").read_bytes() == b""


@pytest.mark.parametrize("how", ["edited", "own", "other", "key"])
def test_a_terminal_with_a_config_is_never_changed_by_a_try(paths: TerminalPaths, how: str) -> None:
    folder = paths.own.parent
    folder.mkdir()
    match how:
        case "edited":
            paths.config.write_text(paths.config.read_text() + "\n# mine\n")
        case "own":
            paths.own.write_text("")
        case "other":
            (folder / "10-camera.toml").write_text("")
        case _:
            paths.write_secret("secret-key", b"a-key-of-the-operator")
    assert init_try.is_configured(paths) and not init_try.uses_units(paths)
    assert not init_try.undo(paths)
    assert paths.secret("secret-key").read_bytes() == (b"a-key-of-the-operator" if how == "key" else b"")


def test_undo_keeps_the_key_of_the_operator(paths: TerminalPaths) -> None:
    storage = paths.config.parent / "try"
    init_try.write_trial_config(paths, storage)
    paths.write_secret("secret-key", b"a-key-of-the-operator")
    assert init_try.undo(paths)
    assert paths.secret("secret-key").read_bytes() == b"a-key-of-the-operator"


def test_init_ends_a_try(paths: TerminalPaths) -> None:
    init_try.write_trial_config(paths, paths.config.parent / "try")
    storage = paths.config.parent / "state"
    done = facepay(
        *("init", "--config", paths.config, "--yes", "--no-tests", "--profile", "demo", "--site", "shop-1"),
        *("--terminal", "t-1", "--appid", "1250000001", "--secret-id", "AKIDEXAMPLEEXAMPLEEXAMPLE"),
        *("--storage", storage),
    )
    assert done.returncode == 0, done.stderr
    assert not paths.trial.exists() and load(paths.config, Config).site == "shop-1"
    assert paths.secret("secret-key").read_bytes() == EXAMPLE_SECRET, "the published key of this account"


def test_undo_without_a_try_says_so(paths: TerminalPaths) -> None:
    done = facepay("init", "--try", "--undo", "--config", paths.config)
    assert (done.returncode, done.stdout) == (0, "There is no trial to remove.\n")


def test_without_the_unit_the_config_in_etc_names_no_credential_of_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `pip install` nothing passes credentials: the agent reads the file that `init` writes."""
    units = tmp_path / "units"
    units.mkdir()
    monkeypatch.setattr(terminal_paths, "PACKAGED", tmp_path)
    monkeypatch.setattr(terminal_paths, "_UNITS", (tmp_path / "none", units))
    found = TerminalPaths(tmp_path / "agent.toml")
    assert found.secret_in_config("secret-key") == str(found.secret("secret-key"))
    (units / "facepay-agent.service").touch()
    assert found.secret_in_config("secret-key").startswith("/run/credentials/")
