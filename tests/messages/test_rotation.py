"""The keys that a till trusts after a rotation, and for how long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import TillError
from agent.kits.till.terminal_state import TerminalState
from agent.messages.rotation import PREVIOUS_KEY_FOR_S, PinnedKeys, record_start, rotate, statement_for
from agent.messages.signing import KEY_FILE, Signer
from agent.messages.topics import Topics

BEFORE = json.dumps({"epoch": "e-1"})
AFTER = json.dumps({"epoch": "e-2"})


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Signer, Signer, dict[str, Any]]:
    """The old key, the new key, and the ``state`` with the statement."""
    old = Signer.load_or_create(tmp_path)
    new = rotate(tmp_path, site="shop", terminal="terminal-1", issued_at="2026-03-14T15:00:00.000Z")
    assert Signer.load(tmp_path / KEY_FILE).key_id == new.key_id
    place = {"site": "shop", "terminal": "terminal-1", "epoch": "e-2"}
    return old, new, place | {"key": {"rotation": statement_for(tmp_path, new)}}


def test_pinned_old_key_is_valid_for_stored_results_for_ten_minutes(keys: tuple[Signer, Signer, Any]) -> None:
    old, new, state = keys
    pinned = PinnedKeys(old.public).after_state(state, now_s=100.0)
    stored = old.sign(BEFORE, "result")
    assert pinned.verify(BEFORE, stored, "result", 100.0)
    assert pinned.verify(BEFORE, stored, "result", 100.0 + PREVIOUS_KEY_FOR_S)
    assert not pinned.verify(BEFORE, stored, "result", 100.1 + PREVIOUS_KEY_FOR_S)
    assert pinned.verify(AFTER, new.sign(AFTER, "result"), "result", 10_000.0)


def test_pinned_old_key_is_invalid_for_the_new_epoch(keys: tuple[Signer, Signer, Any]) -> None:
    old, _, state = keys
    pinned = PinnedKeys(old.public).after_state(state, now_s=100.0)
    assert not pinned.verify(AFTER, old.sign(AFTER, "result"), "result", 100.0)


def test_pinned_repeated_state_does_not_extend_the_ten_minutes(keys: tuple[Signer, Signer, Any]) -> None:
    old, _, state = keys
    pinned = PinnedKeys(old.public).after_state(state, now_s=100.0)
    assert pinned.after_state(state | {"epoch": "e-3"}, now_s=400.0) is pinned


def test_pinned_statement_of_an_unknown_key_changes_nothing(keys: tuple[Signer, Signer, Any]) -> None:
    _, _, state = keys
    other = PinnedKeys(Signer.generate().public)
    assert other.after_state(state, now_s=0.0) is other


def signed(fields: dict[str, Any], signer: Signer, kind: str = "state") -> dict[str, Any]:
    """The payload of a ``state`` with its envelope."""
    text = json.dumps(fields)
    return fields | {"state": text, "jws": signer.sign(text, kind)}


def test_verified_state_returns_the_signed_fields_only(keys: tuple[Signer, Signer, Any]) -> None:
    old, _, state = keys
    pinned, fields = PinnedKeys(old.public), {name: state[name] for name in ("site", "terminal", "epoch")}
    assert pinned.verified_state(signed(fields, old) | {"epoch": "lent"}, 0.0) == (pinned, fields)


def test_verified_state_refuses_other_keys_kinds_and_texts(keys: tuple[Signer, Signer, Any]) -> None:
    old, _, state = keys
    pinned, fields = PinnedKeys(old.public), {"site": "shop", "terminal": "terminal-1", "epoch": "e-2"}
    true = signed(fields, old)
    for forged in (
        fields,
        signed(fields, Signer.generate()),
        signed(fields, old, "cancel"),
        true | {"state": json.dumps(fields | {"epoch": "lent"})},
        true | {"state": None},
        true | {"jws": 7},
        signed(state, Signer.generate()),  # a statement of the old key, in a state of an unknown key
    ):
        assert pinned.verified_state(forged, 0.0) == (pinned, None)


def test_verified_state_follows_a_rotation_only_when_the_new_key_signed_the_state(
    keys: tuple[Signer, Signer, Any],
) -> None:
    old, new, state = keys
    after, fields = PinnedKeys(old.public).verified_state(signed(state, new), 0.0)
    assert fields == state
    assert (after.key, after.previous, after.new_epochs) == (new.public, old.public, frozenset({"e-2"}))
    assert after.verified_state(signed(state, old), 0.0) == (after, None)


def test_verified_state_keeps_the_old_key_invalid_for_each_later_epoch(
    keys: tuple[Signer, Signer, Any],
) -> None:
    """The terminal starts again within the ten minutes, or the broker delivers an earlier state first."""
    old, new, state = keys
    pinned = PinnedKeys(old.public)
    for epoch in ("e-2", "e-3"):
        pinned, _ = pinned.verified_state(signed(state | {"epoch": epoch}, new), 0.0)
    for epoch in ("e-2", "e-3"):
        text = json.dumps({"epoch": epoch, "decision": "match"})
        assert not pinned.verify(text, old.sign(text, "result"), "result", 1.0)
    assert pinned.verify(BEFORE, old.sign(BEFORE, "result"), "result", 1.0)


def test_terminal_state_keeps_its_pin_at_a_rotation_of_another_place(tmp_path: Path) -> None:
    """The same key served another shop before: its signed state is replayed here."""
    old = Signer.load_or_create(tmp_path)
    new = rotate(tmp_path, site="other", terminal="terminal-1", issued_at="2026-03-14T15:00:00.000Z")
    fields = {"site": "other", "terminal": "terminal-1", "epoch": "e-9"}
    held = TerminalState(Topics("shop", "terminal-1"), old.public)
    held.note_state(signed(fields | {"key": {"rotation": statement_for(tmp_path, new)}}, new))
    assert (held.pinned, held.fields) == (PinnedKeys(old.public), {})


def test_rotate_before_a_start_with_the_last_key_is_refused(tmp_path: Path) -> None:
    """No till could accept the third key: the second key was never published."""
    place = {"site": "shop", "terminal": "terminal-1", "issued_at": "2026-03-14T15:00:00.000Z"}
    Signer.load_or_create(tmp_path)
    second = rotate(tmp_path, **place)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TillError, match="has not started with key") as caught:
        rotate(tmp_path, **place)
    assert caught.value.code == "key_not_started"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    statement = statement_for(tmp_path, second)
    assert statement is not None and set(statement) == {"rotation", "jws"}, "as published"
    record_start(tmp_path, second)
    assert statement_for(tmp_path, second) == statement
    assert rotate(tmp_path, **place).key_id != second.key_id


def test_rotate_after_a_crash_between_its_two_writes_is_allowed(tmp_path: Path) -> None:
    place = {"site": "shop", "terminal": "terminal-1", "issued_at": "2026-03-14T15:00:00.000Z"}
    first = Signer.load_or_create(tmp_path)
    rotate(tmp_path, **place)
    first.save(tmp_path / KEY_FILE)
    assert rotate(tmp_path, **place).key_id != first.key_id
