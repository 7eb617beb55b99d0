"""Traps in the service's folder, e.g. by an attacker with its rights: commands of root end with an error."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.diagnostics import picture_search, privacy
from agent.diagnostics.picture_search import SEARCH_MAX_BYTES
from agent.diagnostics.privacy import audit
from agent.diagnostics.stored_files import Level
from agent.errors import StorageError
from agent.messages.signing import KEY_FILE
from agent.outbox.database import FILE as OUTBOX
from agent.recorder import last_verification
from agent.recorder.traces import read
from agent.safe_open import open_plain, read_plain
from tests import commands
from tests.diagnostics.kit import TerminalFiles

DAY = "traces/2026-03-14.jsonl"
READ_BY_ROOT = (
    last_verification.FILE,
    DAY,
    KEY_FILE,
    OUTBOX,
    f"{OUTBOX}-wal",
    "rotation.json",
    "machine",
    "tills/t/a.pem",
)
HANGS_S = 60  # much longer than a command that does not hang


@pytest.fixture
def place(tmp_path: Path) -> TerminalFiles:
    made = TerminalFiles(tmp_path, "http://127.0.0.1:1/face/compare", 1, extra="[trace]\nenabled = true\n")
    made.write()
    return made


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def link(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def endless(path: Path) -> None:
    """A sparse file: uses no disk space, but would fill the memory if read completely."""
    with path.open("wb") as file:
        file.truncate(SEARCH_MAX_BYTES + (1 << 30))
    path.chmod(0o600)


def put_trap(place: TerminalFiles, name: str, trap: Callable[[Path], None]) -> Path:
    path = place.storage / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    trap(path)
    return path


def facepay(place: TerminalFiles, *words: str) -> subprocess.CompletedProcess[str]:
    config = place.folder / "agent.toml"
    return commands.facepay(*words, "--config", config, cwd=place.folder, timeout_s=HANGS_S)


@pytest.mark.parametrize(
    ("trap", "words"),
    [(pipe, "a pipe, device or folder"), (link, "a link, not a file"), (endless, "longer than")],
)
def test_why_refuses_a_trap_in_place_of_the_frame_log(
    place: TerminalFiles, trap: Callable[[Path], None], words: str
) -> None:
    put_trap(place, last_verification.FILE, trap)
    done = facepay(place, "why")
    assert done.returncode and words in done.stderr and "fix:" in done.stderr


@pytest.mark.parametrize(
    ("trap", "words"),
    [(pipe, "a pipe, device or folder"), (link, "a link, not a file"), (endless, "longer than")],
)
def test_trace_show_refuses_a_trap(place: TerminalFiles, trap: Callable[[Path], None], words: str) -> None:
    put_trap(place, DAY, trap)
    done = facepay(place, "trace", "show")
    assert done.returncode and words in done.stderr and "fix:" in done.stderr


def test_read_refuses_a_line_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "2026-03-14.jsonl"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(StorageError, match="a line of more than"):
        list(read(path))


def test_a_support_archive_is_made_beside_pipes_in_every_place(place: TerminalFiles) -> None:
    for name in READ_BY_ROOT:
        put_trap(place, name, pipe)
    done = facepay(place, "bundle", "-o", "b.tar.gz")
    assert done.returncode == 0, done.stderr
    for part in ("last-verification.json", "traces.json"):
        assert any(part in line and "a pipe, device" in line for line in done.stdout.splitlines()), (
            done.stdout
        )
    with tarfile.open(place.folder / "b.tar.gz") as archive:
        inside = archive.extractfile("facepay-bundle/privacy.json")
        assert inside is not None
        found = [row["finding"] for row in json.load(inside)]
    assert found.count("a pipe or device, not a file") == len(READ_BY_ROOT)


def test_the_audit_names_what_is_too_large_to_be_searched(
    place: TerminalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (picture_search, privacy):
        monkeypatch.setattr(module, "SEARCH_MAX_BYTES", 8 << 20)
    path = put_trap(place, last_verification.FILE, endless)
    (item,) = (each for each in audit(place.inputs()) if each.path == str(path))
    assert (item.level, str(item.finding)) == (Level.WARN, "too large: searched up to 8 MB")


@pytest.mark.parametrize("name", ["machine", "rotation.json", "tills/t/a.pem", KEY_FILE])
def test_keys_show_with_pipes_ends_without_traceback(place: TerminalFiles, name: str) -> None:
    put_trap(place, name, pipe)
    done = facepay(place, "keys", "show")
    assert "Traceback" not in done.stderr


def test_read_plain_accepts_a_link_only_on_request_and_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s3cret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    assert read_plain(tmp_path / "link", 6, links=True) == b"s3cret"
    with pytest.raises(OSError, match="a link, not a file"):
        open_plain(tmp_path / "link")
    with pytest.raises(OSError, match="longer than 5 bytes"):
        read_plain(tmp_path / "secret", 5)
    with pytest.raises(OSError, match="a pipe, device or folder"):
        open_plain(Path("/dev/zero"))
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "nothing")
