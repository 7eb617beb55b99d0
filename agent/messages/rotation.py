"""Key rotation: a new key with a statement signed by the old key, and the keys that a till has pinned.

The statement is a signed envelope, ``{"rotation": "<JSON text>", "jws": …}``. The agent publishes the
statement in ``state.key.rotation``. A till that pinned the old key can then pin the new key without manual
work. A statement covers one step: after two missed rotations the operator must pin the new key by hand.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.core.strict_json import json_object
from agent.errors import TillError, failure_at
from agent.log import facts
from agent.messages.encode import envelope
from agent.messages.signing import KEY_FILE, PublicKey, Signer, key_id
from agent.privileges import as_owner
from agent.safe_open import read_plain
from agent.safe_write import write_whole
from agent.texts import Text

log = logging.getLogger(__name__)

FILE = "rotation.json"
_UNUSED = "unused"  # field of the file, not published: no agent has started with the new key
SCHEMA = "facepay.rotation/1"
STATEMENT_MAX_BYTES = 8_192
PREVIOUS_KEY_FOR_S = 600.0  # a result is sent again for this time, see ``till.delivery``


def rotate(directory: Path, *, site: str, terminal: str, issued_at: str) -> Signer:
    """Create a new key and the statement of the old key. The agent uses the new key after its next start.

    The statement is written first. After a crash in between it names a key that is not in use and is ignored.
    A statement covers one step: no till accepts a key after one that no agent has published.

    Raises:
        TillError: ``key_unusable``, the old key cannot be read or the new key cannot be written;
            ``key_not_started``, no agent has started with the old key since it was made.
    """
    with as_owner(directory):
        old = Signer.load(directory / KEY_FILE)
        if _UNUSED in _stored(directory, old):
            raise TillError(Text("detail.key_not_started", kid=old.key_id), code="key_not_started")
        new = Signer.generate()
        tree = statement(old, new, site=site, terminal=terminal, issued_at=issued_at)
        try:
            stored = json_object(envelope("rotation", tree, old)) or {}
            write_whole(directory / FILE, json.dumps(stored | {_UNUSED: True}).encode())
            new.save(directory / KEY_FILE)
        except OSError as error:
            raise TillError(failure_at(directory, error), code="key_unusable") from error
    return new


def statement(old: Signer, new: Signer, *, site: str, terminal: str, issued_at: str) -> dict[str, Any]:
    """The text about a new key, to be signed with the old key."""
    return {
        "schema": SCHEMA,
        "old_kid": old.key_id,
        "old_sha256": old.fingerprint,
        "new_kid": new.key_id,
        "new_key": new.public.pem().decode(),
        "site": site,
        "terminal": terminal,
        "issued_at": issued_at,
    }


def record_start(directory: Path, signer: Signer) -> None:
    """Record that an agent has started with this key: from now on the key may be rotated. Never raises."""
    stored = _stored(directory, signer)
    if stored.pop(_UNUSED, None) is None:
        return
    try:
        write_whole(directory / FILE, json.dumps(stored).encode())
    except OSError as error:  # then the next rotation is refused until the next start
        log.warning("rotation_not_recorded", extra=facts(why=error))


def statement_for(directory: Path, signer: Signer) -> dict[str, Any] | None:
    """The statement for the key in use, as published in ``state``; None without a usable statement."""
    tree = _stored(directory, signer)
    tree.pop(_UNUSED, None)
    return tree or None


def _stored(directory: Path, signer: Signer) -> dict[str, Any]:
    """The file with the statement for this key; empty without a usable statement."""
    try:
        tree = _object(read_plain(directory / FILE, STATEMENT_MAX_BYTES))
    except OSError:
        return {}  # never rotated: the operator pins the key by hand, as the first key
    return tree if _object(tree.get("rotation")).get("new_kid") == signer.key_id else {}


def fingerprints(directory: Path, signer: Signer) -> tuple[str, ...]:
    """Fingerprints of the key in use and, if known, of the key before the last rotation."""
    tree = statement_for(directory, signer)
    before = _object(tree.get("rotation")).get("old_sha256") if tree else None
    return (signer.fingerprint, before) if isinstance(before, str) else (signer.fingerprint,)


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """The keys that a till trusts: the key of the terminal and, for ten minutes, the key before a rotation.

    A result that was stored before the rotation keeps its bytes and its old signature. The old key is valid
    for such results only: for the ten minutes in which a result is sent again, and never for an epoch of
    which a ``state`` with the signature of the new key arrived: the terminal can restart within that time.
    """

    key: PublicKey
    previous: PublicKey | None = None
    previous_until_s: float = 0.0  # on the clock of ``now_s``
    new_epochs: frozenset[str] = frozenset()

    def after_state(self, state: dict[str, Any], now_s: float) -> PinnedKeys:
        """The pinned keys after a ``state``: a statement that the pinned key signed replaces the pinned key.

        ``state`` is hostile: its key id and fingerprint alone change nothing.
        """
        key = state.get("key")
        tree = key.get("rotation") if isinstance(key, dict) else None
        text, detached = (tree.get("rotation"), tree.get("jws")) if isinstance(tree, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(detached, str):
            return self
        if not self.key.verify(text, detached, "rotation"):
            return self
        statement = _object(text)
        same_place = all(statement.get(name) == state.get(name) for name in ("site", "terminal"))
        pem = statement.get("new_key")
        if statement.get("schema") != SCHEMA or not same_place or not isinstance(pem, str):
            return self
        try:
            new = PublicKey.load(pem.encode())
        except TillError:
            return self
        if key_id(new.key) != statement.get("new_kid"):
            return self
        return PinnedKeys(new, self.key, now_s + PREVIOUS_KEY_FOR_S, frozenset({str(state.get("epoch"))}))

    def verified_state(
        self, payload: dict[str, Any], now_s: float
    ) -> tuple[PinnedKeys, dict[str, Any] | None]:
        """The pinned keys after a ``state``, and the fields of its signed text.

        The fields are None when the text is not signed by the pinned key, or by the new key of a statement
        that the pinned key signed. The fields beside the envelope are not signed and are not read.
        """
        text, detached = payload.get("state"), payload.get("jws")
        if not isinstance(text, str) or not isinstance(detached, str):
            return self, None
        fields = _object(text)
        after = self.after_state(fields, now_s)
        if not after.key.verify(text, detached, "state"):
            return self, None
        if after.previous is not None and now_s <= after.previous_until_s:
            after = replace(after, new_epochs=after.new_epochs | {str(fields.get("epoch"))})
        return after, fields

    def verify(self, text: str, detached: str, kind: str, now_s: float) -> bool:
        """Whether a pinned key made this signature over ``text`` as a message of this kind."""
        if self.key.verify(text, detached, kind):
            return True
        if self.previous is None or now_s > self.previous_until_s:
            return False
        is_new = str(_object(text).get("epoch")) in self.new_epochs
        return not is_new and self.previous.verify(text, detached, kind)


def _object(text: object) -> dict[str, Any]:
    return json_object(text) or {}
