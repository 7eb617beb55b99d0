"""The public keys that this terminal trusts, by till: ``<state>/tills/<till>/<key id>.pem``.

A second folder, ``operators``, holds the keys for remote diagnosis, and only for that: a key of a till is not
valid there.

``facepay keys trust`` installs a key that was received out of band. Several keys of one till are valid at the
same time, so that a till can change its key without a gap. A changed folder is read again without a restart.
"""

import logging
from pathlib import Path

from agent.errors import TillError, failure_at
from agent.log import facts
from agent.messages.signing import PEM_MAX_BYTES, PublicKey, key_id
from agent.privileges import as_owner
from agent.safe_open import file_stamp, read_plain
from agent.safe_write import write_whole
from agent.texts import Text

log = logging.getLogger(__name__)

FOLDER = "tills"
OPERATORS = "operators"
Stamp = tuple[tuple[str, int, int, int], ...]  # name, inode, mtime_ns and size of each key file, sorted
KEYS_MAX = 8  # per till: a rotation needs two, and each message is verified with each key


class Keyring:
    """The keys in one state directory. Till ids are checked topic levels, so no id contains a path."""

    def __init__(self, directory: Path, folder: str = FOLDER) -> None:
        self._folder = directory / folder
        self._read: dict[str, tuple[Stamp, list[PublicKey]]] = {}

    def has_key(self, till: str) -> bool:
        """Whether the till has a folder here; then every message must be signed. An unusable key counts."""
        try:
            (self._folder / till).stat()
        except FileNotFoundError:
            return False
        return True

    def verify(self, till: str, text: str, detached: str, kind: str) -> bool:
        """Whether a key trusted for ``till`` made this signature over ``text`` as a message of this kind."""
        return any(key.verify(text, detached, kind) for key in self.keys(till))

    def keys(self, till: str) -> list[PublicKey]:
        """The keys trusted for a till, at most ``KEYS_MAX``. An unusable file is logged and skipped."""
        stamp = self._stamp(till)
        cached = self._read.get(till)
        if cached is None or cached[0] != stamp:
            cached = self._read[till] = (stamp, self._load(till))
        return cached[1]

    def tills(self) -> list[str]:
        """The tills with a key here, sorted."""
        return sorted(folder.name for folder in self._folder.iterdir()) if self._folder.is_dir() else []

    def usable(self) -> dict[str, int]:
        """The number of usable keys of each till in ``tills``. Raises ``OSError``: not readable here."""
        return {till: len(self.keys(till)) for till in self.tills()}

    def trust(self, till: str, key: PublicKey, *, replaces_others: bool = False) -> Path:
        """Trust a key for a till. ``replaces_others``: remove all other keys of the till.

        Raises:
            TillError: ``key_unusable``, the till has ``KEYS_MAX`` keys, or the file cannot be written.
        """
        path = self._folder / till / f"{key_id(key.key)}.pem"
        try:
            with as_owner(self._folder.parent):
                others = [file for file in self._files(till) if file != path]
                if not replaces_others and len(others) >= KEYS_MAX:
                    why = Text("detail.till_keys_full", till=till, count=len(others))
                    raise TillError(why, code="key_unusable", fix=Text("fix.till_keys_full", till=till))
                # ``mode`` applies to the last folder only
                for folder in (self._folder.parent, self._folder, path.parent):
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_whole(path, key.pem())
                for file in [*others, *self._leftovers(till)] if replaces_others else []:
                    file.unlink()
        except OSError as error:
            raise TillError(failure_at(path, error), code="key_unusable") from error
        return path

    def distrust(self, till: str) -> int:
        """Remove all keys of a till; return their number.

        Raises:
            TillError: ``till_unknown``, there is no key of this till; ``key_unusable``.
        """
        folder = self._folder / till
        try:
            with as_owner(self._folder.parent):
                if not folder.is_dir():
                    raise TillError(Text("detail.till_unknown", folder=folder), code="till_unknown")
                files = self._files(till)
                for file in [*files, *self._leftovers(till)]:
                    file.unlink()
                if folder.is_dir():
                    folder.rmdir()
        except OSError as error:
            raise TillError(failure_at(folder, error), code="key_unusable") from error
        return len(files)

    def _files(self, till: str) -> list[Path]:
        return sorted((self._folder / till).glob("*.pem"))

    def _leftovers(self, till: str) -> list[Path]:
        """Temporary files of ``write_whole`` in a process that was killed."""
        return sorted((self._folder / till).glob(".*.pem.new"))

    def _stamp(self, till: str) -> Stamp:
        """Differs after each change of a key file; empty: no key.

        The time of the folder is not enough: two changes within one tick of the kernel's clock have one time.
        """
        stamps = []
        for path in self._files(till):
            try:
                stamps.append((path.name, *file_stamp(path)))
            except FileNotFoundError:  # removed meanwhile
                continue
        return tuple(stamps)

    def _load(self, till: str) -> list[PublicKey]:
        keys = []
        for path in self._files(till)[:KEYS_MAX]:
            try:
                keys.append(PublicKey.load(read_plain(path, PEM_MAX_BYTES)))
            except (OSError, TillError) as error:
                log.error("till_key_unusable", extra=facts(till=till, file=path.name, why=error))
        return keys
