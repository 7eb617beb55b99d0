"""Which till is believed, and how the terminal's own key changes without anybody visiting a till."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.errors import TillError
from agent.messages.keyring import KEYS_MAX, Keyring
from agent.messages.rotation import FILE, follow, rotate, statement_for
from agent.messages.signing import KEY_FILE, Signer
from agent.privileges import as_owner

TEXT = '{"schema":"facepay.cancel/1"}'
PLACE = {"site": "shop-1", "terminal": "terminal-1"}


def test_a_tills_key_counts_for_that_till_and_kind_alone(tmp_path: Path) -> None:
    ring, key = Keyring(tmp_path), Signer.generate()
    ring.trust("till-1", key.public)
    signature = key.sign(TEXT, "cancel")
    assert ring.verify("till-1", TEXT, signature, "cancel")
    assert not ring.verify("till-2", TEXT, signature, "cancel"), "another till has not this key"
    assert not ring.verify("till-1", TEXT, signature, "ack"), "a cancel is no ack"
    assert not ring.verify("till-1", TEXT, Signer.generate().sign(TEXT, "cancel"), "cancel")


def test_a_running_agent_takes_a_new_key_and_loses_an_old_one_at_once(tmp_path: Path) -> None:
    ring, desk = Keyring(tmp_path), Keyring(tmp_path)
    old, new = Signer.generate(), Signer.generate()
    assert not ring.knows("till-1")
    desk.trust("till-1", old.public)
    assert ring.knows("till-1") and ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack")
    desk.trust("till-1", new.public)
    assert ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack"), "both, while the till changes over"
    assert ring.verify("till-1", TEXT, new.sign(TEXT, "ack"), "ack")
    desk.trust("till-1", new.public, alone=True)
    assert not ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack")
    assert desk.distrust("till-1") == 1
    assert not ring.knows("till-1") and not ring.verify("till-1", TEXT, new.sign(TEXT, "ack"), "ack")


def test_a_damaged_key_file_opens_no_door(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    path = ring.trust("till-1", Signer.generate().public)
    path.write_bytes(b"no key")
    again = Keyring(tmp_path)
    assert again.knows("till-1"), "the till must still sign"
    assert again.keys("till-1") == []


def test_a_till_has_few_keys(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    for _ in range(KEYS_MAX):
        ring.trust("till-1", Signer.generate().public)
    with pytest.raises(TillError, match="keys already"):
        ring.trust("till-1", Signer.generate().public)


def rotated(folder: Path) -> tuple[Signer, Signer]:
    old = Signer.load_or_create(folder)
    return old, rotate(folder, **PLACE, issued_at="2026-03-14T16:00:00.000Z")


def state_of(folder: Path, signer: Signer) -> dict[str, object]:
    key = {"kid": signer.key_id, "sha256": signer.fingerprint, "rotation": statement_for(folder, signer)}
    return {**PLACE, "key": key}


def test_a_till_that_pinned_the_old_key_follows_the_rotation(tmp_path: Path) -> None:
    old, new = rotated(tmp_path)
    assert Signer.load(tmp_path / KEY_FILE).key_id == new.key_id != old.key_id
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    assert follow(old.public, state_of(tmp_path, new)).pem() == new.public.pem()
    assert follow(new.public, state_of(tmp_path, new)).pem() == new.public.pem(), "already there"


def test_nobody_else_leads_a_till_to_a_key(tmp_path: Path) -> None:
    old, new = rotated(tmp_path)
    stranger = Signer.generate()
    assert follow(stranger.public, state_of(tmp_path, new)) == stranger.public, "pinned another key"
    good = state_of(tmp_path, new)
    for where in ({"site": "shop-2"}, {"terminal": "terminal-2"}):
        assert follow(old.public, good | where) == old.public, "another terminal's statement"
    key = dict(good["key"])  # type: ignore[call-overload] # a plain object, as it comes off the wire
    statement = key["rotation"]
    for junk in (
        None,
        {},
        {"rotation": 1, "jws": 2},
        {"rotation": statement["rotation"], "jws": stranger.sign(statement["rotation"], "rotation")},
        {"rotation": statement["rotation"], "jws": old.sign(statement["rotation"], "result")},
        {"rotation": statement["rotation"].replace("shop-1", "shop-x"), "jws": statement["jws"]},
        signed(old, {**PLACE, "schema": "facepay.rotation/1", "new_key": "no key", "new_kid": "0"}),
        signed(old, {**PLACE, "schema": "facepay.rotation/2", "new_key": "x"}),
    ):
        assert follow(old.public, good | {"key": key | {"rotation": junk}}) == old.public
    assert follow(old.public, good | {"key": "no object"}) == old.public


def signed(by: Signer, tree: dict[str, str]) -> dict[str, str]:
    text = json.dumps(tree)
    return {"rotation": text, "jws": by.sign(text, "rotation")}


def test_a_crash_between_statement_and_key_leaves_the_old_key_in_force(tmp_path: Path) -> None:
    old, _ = rotated(tmp_path)
    old.save(tmp_path / KEY_FILE)  # as if the last step had not happened
    assert statement_for(tmp_path, Signer.load(tmp_path / KEY_FILE)) is None
    (tmp_path / FILE).write_bytes(b"{half a")
    assert statement_for(tmp_path, old) is None


# --- run by root in a folder of somebody who was taken over -------------------------------------------

NOBODY = 65_534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led astray")


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory as the service has it, where another user may get to it."""
    with TemporaryDirectory(dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        folder = Path(made) / "state"
        folder.mkdir(mode=0o700)
        os.chown(folder, NOBODY, NOBODY)
        yield folder


def roots_own(state: Path) -> Path:
    folder = state.parent / "etc"
    folder.mkdir(mode=0o755)
    (folder / "authority.pem").write_text("everybody's trust")
    return folder


def link(place: Path, to: Path) -> None:
    place.symlink_to(to)
    os.chown(place, NOBODY, NOBODY, follow_symlinks=False)


def untouched(folder: Path) -> bool:
    return folder.stat().st_uid == 0 and [each.name for each in folder.iterdir()] == ["authority.pem"]


@only_root
@pytest.mark.parametrize("name", ["tills", "tills/till-1"])
def test_a_link_in_the_services_folder_gives_away_nothing_of_roots(state: Path, name: str) -> None:
    etc, ring = roots_own(state), Keyring(state)
    if "/" in name:
        (state / "tills").mkdir(mode=0o700)
        os.chown(state / "tills", NOBODY, NOBODY)
    link(state / name, etc)
    with pytest.raises(TillError) as refused:
        ring.trust("till-1", Signer.generate().public, alone=True)
    assert refused.value.code == "key_unusable" and untouched(etc)
    if "/" in name:
        with pytest.raises(TillError):
            ring.distrust("till-1")
        assert untouched(etc)


@only_root
def test_what_root_puts_there_is_the_services_and_root_is_root_again(state: Path) -> None:
    path = Keyring(state).trust("till-1", Signer.generate().public)
    assert {each.stat().st_uid for each in (path, path.parent, path.parent.parent)} == {NOBODY}
    with as_owner(state):
        Signer.load_or_create(state)
    rotate(state, **PLACE, issued_at="2026-03-14T10:00:00Z")
    assert {each.stat().st_uid for each in state.iterdir()} == {NOBODY}
    assert os.geteuid() == 0 and os.getegid() == 0
