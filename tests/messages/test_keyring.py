"""The trusted keys of tills, and the rotation of the terminal's key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from agent.errors import TillError
from agent.messages.keyring import KEYS_MAX, Keyring
from agent.messages.rotation import FILE, PinnedKeys, rotate, statement_for
from agent.messages.signing import KEY_FILE, PublicKey, Signer
from agent.privileges import as_owner

TEXT = '{"schema":"facepay.cancel/1"}'
PLACE = {"site": "shop-1", "terminal": "terminal-1"}


def follow(pinned: PublicKey, state: dict[str, Any]) -> PublicKey:
    return PinnedKeys(pinned).after_state(state, 0.0).key


def test_verify_accepts_a_key_for_its_till_and_kind_only(tmp_path: Path) -> None:
    ring, key = Keyring(tmp_path), Signer.generate()
    ring.trust("till-1", key.public)
    signature = key.sign(TEXT, "cancel")
    assert ring.verify("till-1", TEXT, signature, "cancel")
    assert not ring.verify("till-2", TEXT, signature, "cancel"), "the key of another till"
    assert not ring.verify("till-1", TEXT, signature, "ack"), "another kind"
    assert not ring.verify("till-1", TEXT, Signer.generate().sign(TEXT, "cancel"), "cancel")


def test_keyring_changed_folder_is_read_again(tmp_path: Path) -> None:
    ring, writer = Keyring(tmp_path), Keyring(tmp_path)
    old, new = Signer.generate(), Signer.generate()
    assert not ring.has_key("till-1")
    writer.trust("till-1", old.public)
    assert ring.has_key("till-1") and ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack")
    writer.trust("till-1", new.public)
    assert ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack"), "both keys during a change"
    assert ring.verify("till-1", TEXT, new.sign(TEXT, "ack"), "ack")
    writer.trust("till-1", new.public, replaces_others=True)
    assert not ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack")
    assert writer.distrust("till-1") == 1
    assert not ring.has_key("till-1") and not ring.verify("till-1", TEXT, new.sign(TEXT, "ack"), "ack")


def test_keyring_change_without_a_new_folder_time_is_read_again(tmp_path: Path) -> None:
    """The times of a folder are as coarse as the kernel's clock: two changes can have one time."""
    ring, writer = Keyring(tmp_path), Keyring(tmp_path)
    old, new = Signer.generate(), Signer.generate()
    folder = writer.trust("till-1", old.public).parent
    about = folder.stat()
    assert ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack")
    writer.trust("till-1", new.public, replaces_others=True)
    os.utime(folder, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert not ring.verify("till-1", TEXT, old.sign(TEXT, "ack"), "ack"), "a removed key is not trusted"
    assert ring.verify("till-1", TEXT, new.sign(TEXT, "ack"), "ack")


@pytest.mark.parametrize("with_key", [True, False])
def test_distrust_removes_the_temporary_file_of_a_killed_process(tmp_path: Path, with_key: bool) -> None:
    ring = Keyring(tmp_path)
    path = ring.trust("till-1", Signer.generate().public)
    leftover = path.with_name(f".{path.name}.new")
    leftover.write_bytes(b"")
    if not with_key:
        path.unlink()
    assert ring.distrust("till-1") == int(with_key)
    assert not ring.has_key("till-1") and not path.parent.exists()


def test_distrust_of_a_till_without_a_key_is_an_error(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    ring.trust("till-1", Signer.generate().public)
    with pytest.raises(TillError) as caught:
        ring.distrust("til-1")
    assert caught.value.code == "till_unknown" and "til-1" in str(caught.value)
    assert ring.distrust("till-1") == 1


def test_trust_alone_removes_the_temporary_file_of_a_killed_process(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    path = ring.trust("till-1", Signer.generate().public)
    path.with_name(f".{path.name}.new").write_bytes(b"")
    kept = ring.trust("till-1", Signer.generate().public, replaces_others=True)
    assert list(kept.parent.iterdir()) == [kept]


def test_keyring_damaged_file_still_requires_a_signature(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    path = ring.trust("till-1", Signer.generate().public)
    path.write_bytes(b"no key")
    again = Keyring(tmp_path)
    assert again.has_key("till-1"), "a signature is still required"
    assert again.keys("till-1") == []


def test_trust_beyond_the_maximum_raises(tmp_path: Path) -> None:
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


def test_follow_statement_of_the_pinned_key_returns_the_new_key(tmp_path: Path) -> None:
    old, new = rotated(tmp_path)
    assert Signer.load(tmp_path / KEY_FILE).key_id == new.key_id != old.key_id
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
    assert follow(old.public, state_of(tmp_path, new)).pem() == new.public.pem()
    assert follow(new.public, state_of(tmp_path, new)).pem() == new.public.pem(), "already pinned"


def test_follow_without_a_valid_statement_keeps_the_pinned_key(tmp_path: Path) -> None:
    old, new = rotated(tmp_path)
    other_key = Signer.generate()
    assert follow(other_key.public, state_of(tmp_path, new)) == other_key.public, "another key is pinned"
    valid = state_of(tmp_path, new)
    for place in ({"site": "shop-2"}, {"terminal": "terminal-2"}):
        assert follow(old.public, valid | place) == old.public, "the statement of another terminal"
    key = dict(valid["key"])  # type: ignore[call-overload] # a JSON object
    statement = key["rotation"]
    for junk in (
        None,
        {},
        {"rotation": 1, "jws": 2},
        {"rotation": statement["rotation"], "jws": other_key.sign(statement["rotation"], "rotation")},
        {"rotation": statement["rotation"], "jws": old.sign(statement["rotation"], "result")},
        {"rotation": statement["rotation"].replace("shop-1", "shop-x"), "jws": statement["jws"]},
        signed(old, {**PLACE, "schema": "facepay.rotation/1", "new_key": "no key", "new_kid": "0"}),
        signed(old, {**PLACE, "schema": "facepay.rotation/2", "new_key": "x"}),
    ):
        assert follow(old.public, valid | {"key": key | {"rotation": junk}}) == old.public
    assert follow(old.public, valid | {"key": "no object"}) == old.public


def signed(by: Signer, tree: dict[str, str]) -> dict[str, str]:
    text = json.dumps(tree)
    return {"rotation": text, "jws": by.sign(text, "rotation")}


def test_rotate_crash_before_the_new_key_keeps_the_old_key(tmp_path: Path) -> None:
    old, _ = rotated(tmp_path)
    old.save(tmp_path / KEY_FILE)  # state before the last step
    assert statement_for(tmp_path, Signer.load(tmp_path / KEY_FILE)) is None
    (tmp_path / FILE).write_bytes(b"{half a")
    assert statement_for(tmp_path, old) is None


# --- run as root in the folder of a compromised service -----------------------------------------------

SERVICE_UID = 65_534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory of the service in a folder that other users can enter."""
    with TemporaryDirectory(dir="/var/tmp") as made:
        Path(made).chmod(0o755)
        folder = Path(made) / "state"
        folder.mkdir(mode=0o700)
        os.chown(folder, SERVICE_UID, SERVICE_UID)
        yield folder


def root_folder(state: Path) -> Path:
    folder = state.parent / "etc"
    folder.mkdir(mode=0o755)
    (folder / "authority.pem").write_text("a certificate")
    return folder


def link(place: Path, to: Path) -> None:
    place.symlink_to(to)
    os.chown(place, SERVICE_UID, SERVICE_UID, follow_symlinks=False)


def untouched(folder: Path) -> bool:
    return folder.stat().st_uid == 0 and [each.name for each in folder.iterdir()] == ["authority.pem"]


@only_root
@pytest.mark.parametrize("name", ["tills", "tills/till-1"])
def test_trust_as_root_does_not_follow_a_link_of_the_service(state: Path, name: str) -> None:
    etc, ring = root_folder(state), Keyring(state)
    if "/" in name:
        (state / "tills").mkdir(mode=0o700)
        os.chown(state / "tills", SERVICE_UID, SERVICE_UID)
    link(state / name, etc)
    with pytest.raises(TillError) as refused:
        ring.trust("till-1", Signer.generate().public, replaces_others=True)
    assert refused.value.code == "key_unusable" and untouched(etc)
    if "/" in name:
        with pytest.raises(TillError):
            ring.distrust("till-1")
        assert untouched(etc)


@only_root
def test_trust_as_root_writes_files_of_the_service(state: Path) -> None:
    path = Keyring(state).trust("till-1", Signer.generate().public)
    assert {each.stat().st_uid for each in (path, path.parent, path.parent.parent)} == {SERVICE_UID}
    with as_owner(state):
        Signer.load_or_create(state)
    rotate(state, **PLACE, issued_at="2026-03-14T10:00:00Z")
    assert {each.stat().st_uid for each in state.iterdir()} == {SERVICE_UID}
    assert os.geteuid() == 0 and os.getegid() == 0
