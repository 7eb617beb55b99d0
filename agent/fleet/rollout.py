"""Bringing a bundle's config into force, and back again when the terminal does not do well with it.

The order survives a power cut at any point: last-good, then the record ("trying", with the number), then the
config itself, each whole on disk before the next begins. The number is spent before the config is in force: a
bundle that failed is never tried again by itself, and no older one ever passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from agent.config import Config
from agent.config.file import MAX_FILE_BYTES, load
from agent.config.reload import changed
from agent.errors import AgentError, FleetError
from agent.fleet.config_bundle import Bundle, takes, unpack
from agent.fleet.files import read_bounded, write_whole
from agent.fleet.record import RolloutRecord, RolloutStore
from agent.fleet.refusals import refusal


class RolloutTarget(Protocol):
    """What a rollout needs of the terminal it changes."""

    def objection(self, config: Path) -> str:
        """Why this config file must not be brought into force; empty when nothing speaks against it."""

    def look(self) -> None:
        """Remember how the running agent does, before anything changes."""

    def settle(self, old: Config, new: Config) -> str:
        """Have the running agent take ``new``, and watch it; empty when it does well, or none runs."""


@dataclass(frozen=True, slots=True)
class RolloutOutcome:
    number: int
    changed: list[str]  # keys, as section.key


def apply(config: Path, raw: bytes, terminal: RolloutTarget) -> RolloutOutcome:
    """Take a bundle, or refuse it, or go back.

    Raises:
        FleetError: refused (nothing changed), or ``bundle_rolled_back``, ``rollback_failed``.
        ConfigError: the config in force cannot be read, so nobody knows which terminal this is.
    """
    config = config.resolve()
    fleet = RolloutStore(config)
    with fleet.locked():
        record = fleet.read()
        bundle = unpack(raw, fleet.keys())
        sha256 = hashlib.sha256(raw).hexdigest()
        _check_turn(bundle, sha256, record)
        old = load(config, Config)
        text = bundle.config_for(old.site, old.terminal).encode()
        new = _fit(config, text, old, terminal)
        trying = RolloutRecord(record.ring, bundle.number, sha256, "trying")
        terminal.look()
        _guarded(lambda: _install(fleet, config, text, record, trying))
        _settle(fleet, config, old, new, trying, terminal)
        _guarded(lambda: fleet.write(replace(trying, stage="in_force")))
        return RolloutOutcome(bundle.number, changed(old, new))


def rollback(config: Path, terminal: RolloutTarget) -> RolloutOutcome:
    """Bring the config before the last bundle into force again, once; the number stays spent.

    Raises:
        FleetError: ``rollback_impossible``, ``rollback_failed``, ``operator_key_unsafe``.
    """
    config = config.resolve()
    fleet = RolloutStore(config)
    with fleet.locked():
        fleet.check()  # else the config that lies there may be anybody's
        record = fleet.read()
        if record.stage not in ("in_force", "trying") or not fleet.last_good.exists():
            raise refusal("rollback_impossible", f"{fleet.folder}: no config before this one is kept")
        back = load(fleet.last_good, Config)
        objection = terminal.objection(fleet.last_good)
        if objection:
            raise refusal("rollback_impossible", objection)
        try:
            old = load(config, Config)
        except AgentError:
            old = back  # damaged by hand since: then any config is better
        terminal.look()
        _guarded(lambda: _restore(fleet, config, record))
        trouble = terminal.settle(old, back)
        if trouble:
            raise refusal("rollback_failed", trouble)
        return RolloutOutcome(record.number, changed(old, back))


def _check_turn(bundle: Bundle, sha256: str, record: RolloutRecord) -> None:
    unfinished = record.stage == "trying" and record.sha256 == sha256  # a power cut: the same one again
    if bundle.number <= record.number and not unfinished:
        raise refusal("bundle_old", f"number {bundle.number}, and {record.number} was tried here already")
    if not takes(record.ring, bundle.ring):
        raise refusal("bundle_other_ring", f"for {bundle.ring}, and this terminal is in ring {record.ring}")


def _fit(config: Path, text: bytes, old: Config, terminal: RolloutTarget) -> Config:
    """Judge the new config in a place where nobody uses it. Raises ``FleetError``."""
    candidate = config.with_name(f".{config.name}.candidate")
    _guarded(lambda: write_whole(candidate, text, like=config))
    try:
        new = load(candidate, Config)
        if (new.site, new.terminal) != (old.site, old.terminal):
            raise refusal("bundle_not_for_us", f"it is for {new.site}/{new.terminal}")
        objection = terminal.objection(candidate)
        if objection:
            raise refusal("bundle_unfit", objection)
        return new
    except FleetError:
        raise
    except AgentError as error:
        raise refusal("bundle_unfit", f"{error.code}: {error}") from error
    finally:
        candidate.unlink(missing_ok=True)


def _install(
    fleet: RolloutStore, config: Path, text: bytes, record: RolloutRecord, trying: RolloutRecord
) -> None:
    if record.stage != "trying":  # else the config that lies there may be the one on trial
        now = read_bounded(config, MAX_FILE_BYTES, refusal("rollout_unwritable", ""))
        write_whole(fleet.last_good, now, like=config)
    fleet.write(trying)
    write_whole(config, text, like=config)


def _settle(
    fleet: RolloutStore,
    config: Path,
    old: Config,
    new: Config,
    trying: RolloutRecord,
    terminal: RolloutTarget,
) -> None:
    trouble = terminal.settle(old, new)
    if not trouble:
        return
    back = load(fleet.last_good, Config)
    _guarded(lambda: _restore(fleet, config, trying))
    still = terminal.settle(new, back)
    if still:
        raise refusal("rollback_failed", f"{trouble}; and after going back: {still}")
    raise refusal("bundle_rolled_back", f"bundle {trying.number}: {trouble}")


def _restore(fleet: RolloutStore, config: Path, record: RolloutRecord) -> None:
    good = read_bounded(fleet.last_good, MAX_FILE_BYTES, refusal("rollback_impossible", ""))
    write_whole(config, good, like=config)
    fleet.write(replace(record, stage="rolled_back"))


def _guarded(work: Callable[[], None]) -> None:
    """The one place where a disk's errors become ours."""
    try:
        work()
    except OSError as error:
        raise refusal("rollout_unwritable", f"{error.filename}: {error.strerror}") from error
