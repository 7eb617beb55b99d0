"""Bundles on a terminal's disk: taken whole or not at all, never backwards, back when it does no good."""

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
from agent.fleet.files import write_whole
from agent.fleet.record import RolloutStore
from agent.fleet.rollout import apply, rollback
from agent.messages.signing import Signer

OPERATOR = Signer.generate()
FIRST = 'profile = "demo"\nsite = "shop-1"\nterminal = "t-1"\n'


def shared(failures: int) -> str:
    return f'profile = "demo"\n[guard]\nfailures = {failures}\n'


def bundle(number: int, text: str = "", ring: str = "all", signer: Signer = OPERATOR) -> bytes:
    assert ring in ("all", "canary")
    return pack(Bundle(number, ring, "2026", {"*": text or shared(number)}), signer)  # type: ignore[arg-type]


class Terminal:
    """Says what it is told to say; remembers what it was asked to take."""

    def __init__(self, *troubles: str, objection: str = "") -> None:
        self.troubles, self.against = list(troubles), objection
        self.taken: list[int] = []

    def objection(self, config: Path) -> str:
        load(config, Config)
        return self.against

    def look(self) -> None:
        pass

    def settle(self, old: Config, new: Config) -> str:
        self.taken.append(new.guard.failures)
        return self.troubles.pop(0) if self.troubles else ""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(FIRST)
    path.chmod(0o640)
    fleet = RolloutStore(path)
    with fleet.locked():
        fleet.pin(OPERATOR.public, only=False)
    return path


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(FleetError) as caught:
        work()
    return caught.value.code


def failures(config: Path) -> int:
    return load(config, Config).guard.failures


def test_a_bundle_comes_into_force_with_this_terminals_name(config: Path) -> None:
    outcome = apply(config, bundle(3), Terminal())
    taken = load(config, Config)
    assert (taken.site, taken.terminal, taken.guard.failures) == ("shop-1", "t-1", 3)
    assert (outcome.number, outcome.changed) == (3, ["guard.failures"])
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert sorted(each.name for each in config.parent.iterdir()) == ["agent.toml", "fleet"]


def test_numbers_only_grow(config: Path) -> None:
    apply(config, bundle(3), Terminal())
    for number in (1, 2, 3):
        assert refused(partial(apply, config, bundle(number), Terminal())) == "bundle_old"
    assert failures(config) == 3
    apply(config, bundle(4), Terminal())
    assert failures(config) == 4


def test_rollback_brings_the_one_before_back_once_and_gives_no_number_back(config: Path) -> None:
    apply(config, bundle(3), Terminal())
    terminal = Terminal()
    rollback(config, terminal)
    assert config.read_text() == FIRST and terminal.taken == [5]
    assert refused(lambda: rollback(config, Terminal())) == "rollback_impossible"
    assert refused(lambda: apply(config, bundle(3), Terminal())) == "bundle_old"
    apply(config, bundle(4), Terminal())
    assert failures(config) == 4


def test_a_terminal_that_does_not_do_well_goes_back_by_itself(config: Path) -> None:
    terminal = Terminal("it lost the broker")
    assert refused(lambda: apply(config, bundle(3), terminal)) == "bundle_rolled_back"
    assert config.read_text() == FIRST and terminal.taken == [3, 5]
    assert refused(lambda: apply(config, bundle(3), Terminal())) == "bundle_old", "not again by itself"


def test_when_going_back_does_not_help_that_is_said(config: Path) -> None:
    assert refused(lambda: apply(config, bundle(3), Terminal("a", "b"))) == "rollback_failed"
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
    ids=["a stranger's", "canaries only", "unknown key", "ids twice", "renames us", "another's"],
)
def test_what_is_refused_changes_nothing_and_spends_no_number(config: Path, raw: bytes, code: str) -> None:
    terminal = Terminal()
    assert refused(lambda: apply(config, raw, terminal)) == code
    assert config.read_text() == FIRST and not terminal.taken
    apply(config, bundle(1), terminal)


def test_what_the_doctor_objects_to_is_not_tried(config: Path) -> None:
    terminal = Terminal(objection="keys.files: is empty")
    assert refused(lambda: apply(config, bundle(3), terminal)) == "bundle_unfit"
    assert not terminal.taken


@pytest.mark.parametrize("step", range(3))
def test_a_power_cut_between_any_two_writes_leaves_a_whole_config_and_a_way_on(
    config: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    apply(config, bundle(2), Terminal())
    writes = 0

    def cut(path: Path, content: bytes, *, mode: int = 0o640, like: Path | None = None) -> None:
        nonlocal writes
        if not path.name.endswith(".candidate"):
            if writes == step:
                raise KeyboardInterrupt  # the process is gone here
            writes += 1
        write_whole(path, content, mode=mode, like=like)

    monkeypatch.setattr(rollout, "write_whole", cut)
    monkeypatch.setattr("agent.fleet.record.write_whole", cut)
    with pytest.raises(KeyboardInterrupt):
        apply(config, bundle(3), Terminal())
    monkeypatch.undo()
    assert failures(config) == 2
    for number in (1, 2):
        assert refused(partial(apply, config, bundle(number), Terminal())) == "bundle_old"
    apply(config, bundle(3), Terminal())
    assert failures(config) == 3
    rollback(config, Terminal())
    assert failures(config) == 2, "the one on trial is never taken for the last good one"


def test_a_cut_during_the_trial_can_be_rolled_back(config: Path) -> None:
    class Dying(Terminal):
        def settle(self, old: Config, new: Config) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(config, bundle(3), Dying())
    assert failures(config) == 3
    rollback(config, Terminal())
    assert config.read_text() == FIRST


def test_without_a_pinned_key_nothing_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(FIRST)
    assert refused(lambda: apply(path, bundle(3), Terminal())) == "operator_key_missing"


def test_pinned_keys_that_others_can_change_are_not_believed(config: Path) -> None:
    folder = config.parent / "fleet" / "operator"
    folder.chmod(0o777)
    assert refused(lambda: apply(config, bundle(3), Terminal())) == "operator_key_unsafe"
    folder.chmod(0o755)
    if os.geteuid() == 0:
        next(folder.iterdir()).chmod(0o644)
        os.chown(next(folder.iterdir()), 12_345, -1)
        assert refused(lambda: apply(config, bundle(3), Terminal())) == "operator_key_unsafe"


def test_a_damaged_record_lets_no_old_bundle_in(config: Path) -> None:
    apply(config, bundle(3), Terminal())
    (config.parent / "fleet" / "record.json").write_text('{"ring": "all", "number": true}')
    assert refused(lambda: apply(config, bundle(9), Terminal())) == "rollout_record_damaged"


def test_two_at_once_wait_for_nobody(config: Path) -> None:
    with RolloutStore(config).locked():
        assert refused(lambda: apply(config, bundle(3), Terminal())) == "rollout_busy"


def test_whoever_can_look_into_the_folder_keeps_no_rollout_out(config: Path) -> None:
    descriptor = os.open(config.parent / "fleet", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        assert apply(config, bundle(3), Terminal()).number == 3
    finally:
        os.close(descriptor)
    assert stat.S_IMODE((config.parent / "fleet" / "lock").stat().st_mode) == 0o600


def test_nobody_elses_config_is_brought_back(config: Path) -> None:
    apply(config, bundle(3), Terminal())
    (config.parent / "fleet").chmod(0o777)
    (config.parent / "fleet" / "last-good.toml").write_text(FIRST + "consent_required = false\n")
    assert refused(lambda: rollback(config, Terminal())) == "operator_key_unsafe"
    assert failures(config) == 3


def test_a_link_lends_no_owner_and_no_mode(tmp_path: Path) -> None:
    (tmp_path / "powerful").touch()
    (tmp_path / "powerful").chmod(0o4755)
    path = tmp_path / "machine"
    path.symlink_to(tmp_path / "powerful")
    write_whole(path, b"x", mode=0o600, like=path)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600 and not path.is_symlink()
    path.chmod(0o4640)
    write_whole(path, b"y", mode=0o600, like=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_full_disk_leaves_the_old_config(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refused(lambda: apply(config, bundle(3), Terminal())) == "rollout_unwritable"
    monkeypatch.undo()
    assert config.read_text() == FIRST
    assert not list(config.parent.glob(".*")), "and no half a file"


def test_a_link_in_the_way_is_not_followed(config: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (config.parent / ".agent.toml.new").symlink_to(victim)
    apply(config, bundle(3), Terminal())
    assert victim.read_text() == "precious" and failures(config) == 3
