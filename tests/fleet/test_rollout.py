"""Rollout of bundles: applied completely or not at all, never an older bundle, rolled back on a problem."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.errors import FleetError
from agent.fleet import rollout
from agent.fleet.config_bundle import Bundle, pack
from agent.fleet.rollout import apply, rollback
from agent.fleet.rollout_store import RolloutStore
from agent.messages.signing import Signer
from agent.safe_write import write_whole
from agent.texts import Text

OPERATOR = Signer.generate()
FIRST = 'profile = "demo"\nsite = "shop-1"\nterminal = "t-1"\n'


def shared(failures: int) -> str:
    return f'profile = "demo"\n[guard]\nfailures = {failures}\n'


def bundle(number: int, text: str = "", ring: str = "all", signer: Signer = OPERATOR) -> bytes:
    assert ring in ("all", "canary")
    return pack(Bundle(number, ring, "2026", {"*": text or shared(number)}), signer)  # type: ignore[arg-type]


def problem(words: str) -> Text:
    return Text("detail.condition", code=words)


class FakeTerminal:
    """Returns the given problems in order; records each applied config by its ``guard.failures``."""

    def __init__(self, *problems: str, rejection: str = "") -> None:
        self.problems, self.reason_to_reject = list(problems), rejection
        self.applied: list[int] = []

    def rejection(self, config: Path) -> Text | None:
        load(config, Config)
        return problem(self.reason_to_reject) if self.reason_to_reject else None

    def record_status(self) -> None:
        pass

    def activate(self, old: Config, new: Config) -> Text | None:
        self.applied.append(new.guard.failures)
        return problem(self.problems.pop(0)) if self.problems else None


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(FIRST)
    path.chmod(0o640)
    fleet = RolloutStore(path)
    with fleet.locked():
        fleet.pin(OPERATOR.public, replaces_others=False)
    return path


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(FleetError) as caught:
        work()
    return caught.value.code


def failures(config: Path) -> int:
    return load(config, Config).guard.failures


def test_an_applied_bundle_has_the_terminals_ids(config: Path) -> None:
    outcome = apply(config, bundle(3), FakeTerminal())
    applied = load(config, Config)
    assert (applied.site, applied.terminal, applied.guard.failures) == ("shop-1", "t-1", 3)
    assert (outcome.number, outcome.changed_keys) == (3, ["guard.failures"])
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert sorted(each.name for each in config.parent.iterdir()) == ["agent.toml", "fleet"]


def test_a_bundle_with_a_used_number_is_refused(config: Path) -> None:
    apply(config, bundle(3), FakeTerminal())
    for number in (1, 2, 3):
        assert refused(partial(apply, config, bundle(number), FakeTerminal())) == "bundle_old"
    assert failures(config) == 3
    apply(config, bundle(4), FakeTerminal())
    assert failures(config) == 4


def test_rollback_restores_the_previous_config_once_and_the_number_stays_used(config: Path) -> None:
    apply(config, bundle(3), FakeTerminal())
    terminal = FakeTerminal()
    rollback(config, terminal)
    assert config.read_text() == FIRST and terminal.applied == [5]
    assert refused(lambda: rollback(config, FakeTerminal())) == "rollback_impossible"
    assert refused(lambda: apply(config, bundle(3), FakeTerminal())) == "bundle_old"
    apply(config, bundle(4), FakeTerminal())
    assert failures(config) == 4


def test_a_problem_after_apply_rolls_back_automatically(config: Path) -> None:
    terminal = FakeTerminal("the agent lost the broker")
    assert refused(lambda: apply(config, bundle(3), terminal)) == "bundle_rolled_back"
    assert config.read_text() == FIRST and terminal.applied == [3, 5]
    assert refused(lambda: apply(config, bundle(3), FakeTerminal())) == "bundle_old", (
        "never retried automatically"
    )


def test_a_problem_after_the_rollback_is_reported(config: Path) -> None:
    assert refused(lambda: apply(config, bundle(3), FakeTerminal("a", "b"))) == "rollback_failed"
    assert config.read_text() == FIRST


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (bundle(3, signer=Signer.generate()), "bundle_untrusted"),
        (bundle(3, ring="canary"), "bundle_other_ring"),
        (bundle(3, "nonsense = 1\n"), "bundle_unfit"),
        (bundle(3, 'profile = "demo"\nterminal = "t-2"\n'), "bundle_unfit"),
        (
            pack(Bundle(3, "all", "", {"shop-1/t-1": FIRST.replace("t-1", "t-2")}), OPERATOR),
            "bundle_not_for_us",
        ),
        (pack(Bundle(3, "all", "", {"shop-1/t-2": FIRST}), OPERATOR), "bundle_not_for_us"),
    ],
    ids=["unpinned key", "canaries only", "unknown key", "ids twice", "other ids", "other terminal"],
)
def test_a_refused_bundle_changes_nothing_and_uses_no_number(config: Path, raw: bytes, code: str) -> None:
    terminal = FakeTerminal()
    assert refused(lambda: apply(config, raw, terminal)) == code
    assert config.read_text() == FIRST and not terminal.applied
    apply(config, bundle(1), terminal)


def test_a_config_that_the_doctor_rejects_is_not_applied(config: Path) -> None:
    terminal = FakeTerminal(rejection="keys.files: is empty")
    assert refused(lambda: apply(config, bundle(3), terminal)) == "bundle_unfit"
    assert not terminal.applied


@pytest.mark.parametrize("step", range(3))
def test_a_power_cut_between_two_writes_leaves_a_valid_config_and_apply_can_be_repeated(
    config: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    apply(config, bundle(2), FakeTerminal())
    writes = 0

    def cut(path: Path, content: bytes, *, mode: int = 0o640, like: Path | None = None) -> None:
        nonlocal writes
        if not path.name.endswith(".candidate"):
            if writes == step:
                raise KeyboardInterrupt  # the process ends here
            writes += 1
        write_whole(path, content, mode=mode, like=like)

    monkeypatch.setattr(rollout, "write_whole", cut)
    monkeypatch.setattr("agent.fleet.rollout_store.write_whole", cut)
    with pytest.raises(KeyboardInterrupt):
        apply(config, bundle(3), FakeTerminal())
    monkeypatch.undo()
    assert failures(config) == 2
    for number in (1, 2):
        assert refused(partial(apply, config, bundle(number), FakeTerminal())) == "bundle_old"
    apply(config, bundle(3), FakeTerminal())
    assert failures(config) == 3
    rollback(config, FakeTerminal())
    assert failures(config) == 2, "the config on trial is never stored as last good"


def test_a_power_cut_during_the_trial_can_be_rolled_back(config: Path) -> None:
    class PowerCut(FakeTerminal):
        def activate(self, old: Config, new: Config) -> Text | None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(config, bundle(3), PowerCut())
    assert failures(config) == 3
    rollback(config, FakeTerminal())
    assert config.read_text() == FIRST


def test_without_a_pinned_key_a_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(FIRST)
    assert refused(lambda: apply(path, bundle(3), FakeTerminal())) == "operator_key_missing"


def test_pinned_keys_that_another_user_can_change_are_refused(config: Path) -> None:
    folder = config.parent / "fleet" / "operator"
    folder.chmod(0o777)
    assert refused(lambda: apply(config, bundle(3), FakeTerminal())) == "operator_key_unsafe"
    folder.chmod(0o755)
    if os.geteuid() == 0:
        next(folder.iterdir()).chmod(0o644)
        os.chown(next(folder.iterdir()), 12_345, -1)
        assert refused(lambda: apply(config, bundle(3), FakeTerminal())) == "operator_key_unsafe"


def test_with_a_damaged_record_every_bundle_is_refused(config: Path) -> None:
    apply(config, bundle(3), FakeTerminal())
    (config.parent / "fleet" / "record.json").write_text('{"ring": "all", "number": true}')
    assert refused(lambda: apply(config, bundle(9), FakeTerminal())) == "rollout_record_damaged"


def test_a_second_rollout_at_the_same_time_is_refused(config: Path) -> None:
    with RolloutStore(config).locked():
        assert refused(lambda: apply(config, bundle(3), FakeTerminal())) == "rollout_busy"


def test_a_lock_on_the_folder_does_not_block_a_rollout(config: Path) -> None:
    descriptor = os.open(config.parent / "fleet", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        assert apply(config, bundle(3), FakeTerminal()).number == 3
    finally:
        os.close(descriptor)
    assert stat.S_IMODE((config.parent / "fleet" / "lock").stat().st_mode) == 0o600


def test_rollback_refuses_a_folder_that_another_user_can_change(config: Path) -> None:
    apply(config, bundle(3), FakeTerminal())
    (config.parent / "fleet").chmod(0o777)
    (config.parent / "fleet" / "last-good.toml").write_text(FIRST + "consent_required = false\n")
    assert refused(lambda: rollback(config, FakeTerminal())) == "operator_key_unsafe"
    assert failures(config) == 3


def test_write_whole_does_not_copy_owner_and_mode_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "powerful").touch()
    (tmp_path / "powerful").chmod(0o4755)
    path = tmp_path / "machine"
    path.symlink_to(tmp_path / "powerful")
    write_whole(path, b"x", mode=0o600, like=path)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600 and not path.is_symlink()
    path.chmod(0o4640)
    write_whole(path, b"y", mode=0o600, like=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_full_disk_keeps_the_old_config(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refused(lambda: apply(config, bundle(3), FakeTerminal())) == "rollout_unwritable"
    monkeypatch.undo()
    assert config.read_text() == FIRST
    assert not list(config.parent.glob(".*")), "no incomplete file"


def test_a_link_at_the_temporary_path_is_not_followed(config: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (config.parent / ".agent.toml.new").symlink_to(victim)
    apply(config, bundle(3), FakeTerminal())
    assert victim.read_text() == "precious" and failures(config) == 3
