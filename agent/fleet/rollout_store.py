"""The persistent record of a terminal's rollouts, in ``fleet`` beside the config file, owned by root.

The service cannot change the pinned keys or the number. So an attacker with control of the service cannot
apply an old or forged config. Files: ``operator/<key id>.pem``, ``record.json``, ``last-good.toml`` and
``lock``.
"""

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from agent.core import strict_json
from agent.errors import TillError, failure_at
from agent.fleet.config_bundle import Ring, is_ring
from agent.fleet.fleet_errors import read_bounded, refusal
from agent.messages.signing import PublicKey, key_id
from agent.safe_write import sync_folder, write_whole
from agent.texts import Text

FOLDER, LOCK = "fleet", "lock"
KEYS_MAX = 4  # a rotation needs two
_SMALL_BYTES = 4_096

Stage = Literal["none", "trying", "in_force", "rolled_back"]


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """``number``: the highest number tried on this terminal. ``sha256``: of the bytes of that bundle."""

    ring: Ring = "all"
    number: int = 0
    sha256: str = ""
    stage: Stage = "none"


class RolloutStore:
    """The ``fleet`` folder beside one config file."""

    def __init__(self, config: Path) -> None:
        self.folder = config.parent / FOLDER
        self.last_good = self.folder / "last-good.toml"
        self._record = self.folder / "record.json"
        self._keys = self.folder / "operator"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Allow one rollout at a time. Raises ``FleetError``.

        Only the owner can open the lock file. A process that can open a file can lock the file, and would
        block every rollout, also the rollout that repairs the terminal.
        """
        try:
            self._keys.mkdir(parents=True, exist_ok=True, mode=0o755)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.folder / LOCK, flags, 0o600)
        except OSError as error:
            raise refusal("rollout_unwritable", failure_at(self.folder, error)) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise refusal("rollout_busy", Text("detail.is_locked", path=self.folder)) from None
            yield
        finally:
            os.close(descriptor)

    def read(self) -> RolloutRecord:
        """Raises ``FleetError`` (``rollout_record_damaged``): a lost number would allow old bundles."""
        if not self._record.exists():
            return RolloutRecord()
        raw = read_bounded(self._record, _SMALL_BYTES, "rollout_record_damaged")
        try:
            tree = strict_json.loads(raw)
        except ValueError:
            tree = None
        match tree:
            case {"ring": ring, "number": int(number), "sha256": str(sha256), "stage": stage}:
                is_valid = is_ring(ring) and stage in ("none", "trying", "in_force", "rolled_back")
                if is_valid and number >= 0 and number is not True:
                    return RolloutRecord(ring, number, sha256, stage)
        raise refusal("rollout_record_damaged", Text("detail.no_rollout_record", path=self._record))

    def write(self, record: RolloutRecord) -> None:
        """Raises ``FleetError`` (``rollout_unwritable``)."""
        try:
            write_whole(self._record, json.dumps(asdict(record)).encode(), mode=0o644)
        except OSError as error:
            raise refusal("rollout_unwritable", failure_at(self._record, error)) from error

    def keys(self) -> list[PublicKey]:
        """The pinned keys, at least one.

        Raises:
            FleetError: ``operator_key_missing``, ``operator_key_unsafe`` (another user can add a key).
        """
        paths = sorted(self._keys.glob("*.pem"))[:KEYS_MAX]
        self.check(self._keys, *paths)
        keys_read = []
        for path in paths:
            raw = read_bounded(path, _SMALL_BYTES, "operator_key_missing")
            try:
                keys_read.append(PublicKey.load(raw))
            except TillError as error:
                raise refusal("operator_key_missing", failure_at(path, error)) from error
        if not keys_read:
            raise refusal("operator_key_missing", Text("detail.no_key_pinned", path=self._keys))
        return keys_read

    def pin(self, key: PublicKey, *, replaces_others: bool) -> None:
        """Pin an operator's key. Raises ``FleetError``."""
        path = self._keys / f"{key_id(key.key)}.pem"
        others = [other for other in self._keys.glob("*.pem") if other != path]
        if not replaces_others and len(others) >= KEYS_MAX:
            why = Text("detail.keys_pinned", path=self._keys, count=len(others))
            raise refusal("operator_keys_full", why)
        try:
            write_whole(path, key.pem(), mode=0o644)
            for other in others if replaces_others else []:
                other.unlink()
            sync_folder(self._keys)
        except OSError as error:
            raise refusal("rollout_unwritable", failure_at(path, error)) from error

    def check(self, *more: Path) -> None:
        """Raises ``FleetError`` (``operator_key_unsafe``): another user can change the folder or ``more``."""
        for path in (self.folder.parent, self.folder, *more):
            if not path.exists():
                continue
            file_stat = path.stat()
            if file_stat.st_uid not in (0, os.geteuid()):
                owner = Text("detail.belongs_to", owner=file_stat.st_uid)
                raise refusal("operator_key_unsafe", Text("detail.at", place=path, reason=owner))
            if file_stat.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                mode = f"{stat.S_IMODE(file_stat.st_mode):04o}"
                raise refusal("operator_key_unsafe", Text("why.keys.permissions.mode", path=path, mode=mode))
