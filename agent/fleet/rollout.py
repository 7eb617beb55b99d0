"""Rollout of a config bundle, with automatic rollback when the agent is not healthy with the new config.

The order of writes survives a power cut at any point: last-good, then the record ("trying", with the number),
then the config. Each file is on disk before the next write. The number is used before the config is in force:
a failed bundle is never retried automatically, and an older bundle is never accepted.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from agent.config import Config
from agent.config.file import MAX_FILE_BYTES, load, origin, place_of, read_layers
from agent.config.reload import changed_keys
from agent.errors import AgentError, FleetError, failure_at
from agent.fleet.config_bundle import Bundle, is_ring_accepted, unpack
from agent.fleet.fleet_errors import read_bounded, refusal
from agent.fleet.rollout_store import RolloutRecord, RolloutStore
from agent.safe_write import write_whole
from agent.texts import Text


class RolloutTarget(Protocol):
    """The interface between a rollout and the terminal."""

    def rejection(self, config: Path) -> Text | None:
        """The reason to reject a config file; None: no rejection."""

    def record_status(self) -> None:
        """Record the status of the running agent before the change."""

    def activate(self, old: Config, new: Config) -> Text | None:
        """Make the running agent load ``new`` and watch its status.

        Returns the problem; None: the agent is healthy, or no agent runs.
        """


@dataclass(frozen=True, slots=True)
class RolloutOutcome:
    number: int
    changed_keys: list[str]  # keys, as section.key


def apply(config: Path, raw: bytes, terminal: RolloutTarget) -> RolloutOutcome:
    """Apply a bundle, refuse the bundle, or roll back.

    Raises:
        FleetError: refused (nothing changed), or ``bundle_rolled_back``, ``rollback_failed``.
        ConfigError: the config in force is unreadable, so site and terminal are unknown.
    """
    config = config.resolve()
    store = RolloutStore(config)
    with store.locked():
        record = store.read()
        bundle = unpack(raw, store.keys())
        sha256 = hashlib.sha256(raw).hexdigest()
        _check_order(bundle, sha256, record)
        old = load(config, Config)
        text = bundle.config_for(old.site, old.terminal).encode()
        new = _check_config(config, text, old, terminal)
        trial = RolloutRecord(record.ring, bundle.number, sha256, "trying")
        terminal.record_status()
        with _os_errors_translated():
            _install(store, config, text, record, trial)
        _settle_or_roll_back(store, config, old, new, trial, terminal)
        store.write(replace(trial, stage="in_force"))
        return RolloutOutcome(bundle.number, changed_keys(old, new))


def rollback(config: Path, terminal: RolloutTarget) -> RolloutOutcome:
    """Restore the config before the last bundle, once; the number of the bundle stays used.

    Raises:
        FleetError: ``rollback_impossible``, ``rollback_failed``, ``operator_key_unsafe``.
    """
    config = config.resolve()
    store = RolloutStore(config)
    with store.locked():
        store.check()  # another user must not be able to replace the stored config
        record = store.read()
        if record.stage not in ("in_force", "trying") or not store.last_good.exists():
            raise refusal("rollback_impossible", Text("detail.no_earlier_config", folder=store.folder))
        text = read_bounded(store.last_good, MAX_FILE_BYTES, "rollback_impossible")
        with _candidate(config, text) as candidate:
            previous = load(candidate, Config)
            rejection = terminal.rejection(candidate)
        if rejection:
            raise refusal("rollback_impossible", rejection)
        try:
            old = load(config, Config)
        except AgentError:
            old = previous  # the config was damaged manually: any valid config is better
        terminal.record_status()
        with _os_errors_translated():
            _restore(store, config, record)
        problem = terminal.activate(old, previous)
        if problem:
            raise refusal("rollback_failed", problem)
        return RolloutOutcome(record.number, changed_keys(old, previous))


def _check_order(bundle: Bundle, sha256: str, record: RolloutRecord) -> None:
    unfinished = record.stage == "trying" and record.sha256 == sha256  # a power cut: the same bundle again
    if bundle.number <= record.number and not unfinished:
        why = Text("detail.bundle_number_used", number=bundle.number, tried=record.number)
        raise refusal("bundle_old", why)
    if not is_ring_accepted(record.ring, bundle.ring):
        why = Text("detail.bundle_ring", ring=bundle.ring, own_ring=record.ring)
        raise refusal("bundle_other_ring", why)


@contextmanager
def _candidate(config: Path, text: bytes) -> Iterator[Path]:
    """A temporary file with this text beside the config; the config's ``.d`` folder belongs to it, too."""
    candidate = config.with_suffix(".candidate")
    with _os_errors_translated():
        write_whole(candidate, text, like=config)
    try:
        yield candidate
    finally:
        candidate.unlink(missing_ok=True)


def _check_config(config: Path, text: bytes, old: Config, terminal: RolloutTarget) -> Config:
    """Check the new config in a temporary file. Raises ``FleetError``."""
    with _candidate(config, text) as candidate:
        try:
            new = load(candidate, Config)
            if (new.site, new.terminal) != (old.site, old.terminal):
                why = Text("detail.config_for_other", site=new.site, terminal=new.terminal)
                raise refusal("bundle_not_for_us", why)
            rejection = _overridden(candidate) or terminal.rejection(candidate)
        except FleetError:
            raise
        except AgentError as error:
            raise refusal("bundle_unfit", error.sentence) from error
    if rejection:
        raise refusal("bundle_unfit", rejection)
    return new


def _overridden(candidate: Path) -> Text | None:
    """The first key of the file that a file of the terminal sets to another value; None: no key.

    Otherwise the operator would take a bundle for applied whose value has no effect on this terminal.
    """
    files = read_layers(candidate)
    for loc, value in _values(files[0].tree, ()):
        last = origin(files, loc)
        if dict(_values(last.tree, ())).get(loc) != value:
            return Text("detail.overrides_bundle", place=place_of(files, loc), key_=".".join(loc))
    return None


def _values(tree: dict[str, Any], where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _values(value, (*where, key))
        else:
            yield (*where, key), value


def _install(
    store: RolloutStore, config: Path, text: bytes, record: RolloutRecord, trial: RolloutRecord
) -> None:
    if record.stage != "trying":  # otherwise the config file may be the one on trial
        current = read_bounded(config, MAX_FILE_BYTES, "rollout_unwritable")
        write_whole(store.last_good, current, like=config)
    store.write(trial)
    write_whole(config, text, like=config)


def _settle_or_roll_back(
    store: RolloutStore, config: Path, old: Config, new: Config, trial: RolloutRecord, terminal: RolloutTarget
) -> None:
    problem = terminal.activate(old, new)
    if problem is None:
        return
    text = read_bounded(store.last_good, MAX_FILE_BYTES, "rollback_impossible")
    with _candidate(config, text) as candidate:
        previous = load(candidate, Config)
    with _os_errors_translated():
        _restore(store, config, trial)
    second_problem = terminal.activate(new, previous)
    if second_problem:
        why = Text("detail.and_after_rollback", problem=problem, second=second_problem)
        raise refusal("rollback_failed", why)
    raise refusal("bundle_rolled_back", Text("detail.bundle_problem", number=trial.number, problem=problem))


def _restore(store: RolloutStore, config: Path, record: RolloutRecord) -> None:
    good = read_bounded(store.last_good, MAX_FILE_BYTES, "rollback_impossible")
    write_whole(config, good, like=config)
    store.write(replace(record, stage="rolled_back"))


@contextmanager
def _os_errors_translated() -> Iterator[None]:
    """Raise ``OSError`` as ``FleetError`` (``rollout_unwritable``)."""
    try:
        yield
    except OSError as error:
        raise refusal("rollout_unwritable", failure_at(error.filename, error)) from error
