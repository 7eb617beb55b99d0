"""The privacy audit: each stored file has a purpose and a private mode, and contains no picture."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.config import Config
from agent.diagnostics import privacy, stored_files
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks import stored
from agent.diagnostics.picture_search import _CHUNK_BYTES, file_holds_picture, holds_picture
from agent.diagnostics.privacy import audit, worst_level
from agent.diagnostics.stored_files import FILE_KINDS, AuditItem, Level, kind_of
from agent.fleet import machine, rollout_store
from agent.messages import keyring, rotation, signing
from agent.outbox import database
from agent.recorder import last_verification, traces
from agent.resources import data
from agent.texts import Text
from tests.diagnostics.kit import TerminalFiles, findings
from tests.texts import en, zh

PORTRAIT = data("photos/obama_portrait.jpg").read_bytes()
ROOT = os.geteuid() == 0


@pytest.fixture
def place(tmp_path: Path) -> TerminalFiles:
    made = TerminalFiles(tmp_path, "http://127.0.0.1:1/face/compare", 1)
    made.write()
    return made


def inputs_of(place: TerminalFiles, **changes: Any) -> CheckInputs:
    return place.inputs(**({"status": lambda: {"pid": 4_711}} | changes))


def put(place: TerminalFiles, name: str, content: bytes = b"x", mode: int = 0o600) -> Path:
    path = place.storage / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def root_file(place: TerminalFiles, name: str, content: str) -> Path:
    path = place.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def of(items: list[AuditItem], path: Path) -> AuditItem:
    (found,) = (item for item in items if item.path == str(path))
    return found


# --- files --------------------------------------------------------------------------------------------


def test_kinds_contain_every_file_name_of_the_agent() -> None:
    state = stored_files.FileLocation.STATE
    for name in (
        database.FILE,
        f"{database.FILE}-wal",
        f"{database.FILE}.damaged-1700000000000",
        last_verification.FILE,
        f"{last_verification.FILE}.part",
        f"{traces.FOLDER}/2026-03-14.jsonl",
        signing.KEY_FILE,
        rotation.FILE,
        f"{keyring.FOLDER}/till-1/56899b295a01ffff.pem",
        f"{keyring.OPERATORS}/back-office/56899b295a01ffff.pem",
        machine.FILE,
    ):
        assert kind_of(state, name) is not None, name
    damaged = kind_of(state, f"{database.FILE}.damaged-17")
    assert damaged is not None and damaged.age_max_s is not None, "the narrower row"
    for name in ("record.json", "last-good.toml", "operator/56899b295a01ffff.pem"):
        assert kind_of(stored_files.FileLocation.CONFIG, f"{rollout_store.FOLDER}/{name}") is not None, name


@pytest.mark.parametrize("name", ["frame.jpg", "traces/x.png", "tills/a.pem", "a/outbox.sqlite3", ".hidden"])
def test_kind_of_unknown_file_is_none(name: str) -> None:
    assert kind_of(stored_files.FileLocation.STATE, name) is None


def test_a_terminal_in_order_is_listed_with_purpose_owner_and_age(place: TerminalFiles) -> None:
    path = put(place, last_verification.FILE)
    os.utime(path, (time.time() - 7_200,) * 2)
    items = audit(inputs_of(place))
    assert worst_level(items) is Level.OK
    item = of(items, path)
    assert (item.mode, item.size_bytes, 7_199 <= (item.age_s or 0) < 7_300) == ("-rw-------", 1, True)
    assert "facepay why" in item.purpose and "no picture" in item.personal and item.kept
    assert of(items, place.secret).purpose.startswith("compare.secret_key_file")
    assert of(items, place.folder / "agent.toml").purpose == "the agent's config"


def test_audit_unknown_file_warns(place: TerminalFiles) -> None:
    path = put(place, "sub/snapshot.bin")
    item = of(audit(inputs_of(place)), path)
    assert (item.level, str(item.finding)) == (Level.WARN, "not a file of this product")
    assert item.remedy is not None and zh(item.remedy)


@pytest.mark.parametrize("name", [last_verification.FILE, database.FILE, "unknown.bin"])
@pytest.mark.parametrize(
    "form",
    [
        lambda raw: raw,
        base64.b64encode,
        base64.urlsafe_b64encode,
        lambda raw: raw.hex().encode(),
        lambda raw: raw.hex().upper().encode(),
        lambda raw: json.dumps({"crop": base64.b64encode(raw).decode()}).encode(),
    ],
    ids=["raw", "base64", "base64url", "hex", "HEX", "json"],
)
def test_audit_finds_a_picture_in_any_file(place: TerminalFiles, name: str, form: Any) -> None:
    path = put(place, name, b"SQLite format 3\0" + form(PORTRAIT))
    item = of(audit(inputs_of(place)), path)
    assert (item.level, str(item.finding)) == (Level.FAIL, "contains a picture")


@pytest.mark.parametrize("before", [0, 1, _CHUNK_BYTES - 2, _CHUNK_BYTES - 3, _CHUNK_BYTES * 2 - 1])
def test_a_picture_across_two_reads_is_found(before: int) -> None:
    assert file_holds_picture(io.BytesIO(b"." * before + PORTRAIT))
    assert not file_holds_picture(io.BytesIO(b"." * before + b"no picture" * 100))


def test_holds_picture_is_false_for_other_bytes() -> None:
    assert not holds_picture(b"\xff\xd8\xff" + b"\x00" * 100)
    assert not holds_picture(json.dumps({"jws": "eyJhbGciOi..9j4"}).encode())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_open_is_a_fault(place: TerminalFiles, mode: int) -> None:
    path = put(place, last_verification.FILE, mode=mode)
    item = of(audit(inputs_of(place)), path)
    assert (item.level, str(item.finding)) == (Level.FAIL, "other users may open it")
    assert item.remedy is not None and str(path) in en(item.remedy)


def test_audit_old_trace_warns(place: TerminalFiles) -> None:
    path = put(place, f"{traces.FOLDER}/2020-01-01.jsonl")
    os.utime(path, (time.time() - 9 * 86_400,) * 2)
    assert str(of(audit(inputs_of(place)), path).finding) == "older than 192 h"


def test_a_link_is_not_followed(place: TerminalFiles) -> None:
    outside = place.folder / "elsewhere"
    outside.mkdir()
    (outside / "private.jpg").write_bytes(PORTRAIT)
    link = place.storage / "folder"
    link.symlink_to(outside)
    known = place.storage / signing.KEY_FILE
    known.symlink_to(outside / "private.jpg")
    items = audit(inputs_of(place))
    assert of(items, link).level is Level.WARN and str(of(items, known).finding) == "a link, not a file"
    assert not any("private.jpg" in item.path for item in items)


def test_audit_accepts_the_agents_socket(place: TerminalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.storage)  # an AF_UNIX path has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("status.sock")
        (place.storage / "status.sock").chmod(0o660)
        assert of(audit(inputs_of(place)), place.storage / "status.sock").level is Level.OK


def test_audit_lists_at_most_entries_max_files(place: TerminalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "ENTRIES_MAX", 3)
    for number in range(9):
        put(place, f"f{number}")
    items = audit(inputs_of(place))
    assert str(of(items, place.storage).finding) == "9 files"
    assert sum(item.path.startswith(f"{place.storage}/") for item in items) == 3


@pytest.mark.skipif(ROOT, reason="root may read every file")
def test_audit_unreadable_folder_is_no_fault(place: TerminalFiles) -> None:
    put(place, "tills/till-1/x.pem")
    (place.storage / "tills").chmod(0)
    items = audit(inputs_of(place))
    (place.storage / "tills").chmod(0o700)
    assert worst_level(items) is Level.UNREADABLE


# --- outside the folders of the product ----------------------------------------------------------------


def test_leftovers_in_temporary_folders_are_found_with_what_is_in_them(place: TerminalFiles) -> None:
    plain = root_file(place, "tmp/facepay-demo-x/agent.toml", "x").parent
    picture = place.root / "tmp/systemd-private-1-facepay-agent.service-2/tmp/crop"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(PORTRAIT)
    items = audit(inputs_of(place))
    assert of(items, plain).level is Level.WARN and of(items, picture).level is Level.FAIL


def test_temporary_folder_of_a_running_process_is_no_finding(place: TerminalFiles) -> None:
    used = root_file(place, "tmp/facepay-demo-x/agent.toml", "x").parent
    left = root_file(place, "tmp/facepay-demo-y/agent.toml", "x").parent
    descriptors = place.root / "proc/4711/fd"
    descriptors.mkdir(parents=True)
    (descriptors / "7").symlink_to("/tmp/facepay-demo-x/state/outbox.sqlite3")
    items = audit(inputs_of(place))
    assert of(items, used).level is Level.OK and of(items, used).kept == "until the process ends"
    assert of(items, left).level is Level.WARN


def test_audit_escapes_control_characters_of_file_names(place: TerminalFiles) -> None:
    """The file name is not valid UTF-8 either."""
    odd = place.root / "tmp" / os.fsdecode(b"facepay-\x1b]0;x\x07\n\xff")
    odd.mkdir(parents=True)
    (found,) = [item for item in audit(inputs_of(place)) if "facepay-" in item.path and "/tmp/" in item.path]
    assert found.level is Level.WARN and found.path.isprintable()
    path = put(place, "outbox.sqlite3$(reboot)", mode=0o644)
    fix = of(audit(inputs_of(place)), path).remedy
    assert fix is not None and f"'{path}'" in en(fix), "quoted, because root pastes it into a shell"


LIMITS = "Limit Soft Limit Hard Limit Units\nMax core file size        {}        {}      bytes\n"


@pytest.mark.parametrize(
    ("pattern", "limit", "level"),
    [
        ("core", "0", Level.OK),
        ("core", "unlimited", Level.WARN),
        ("|/usr/lib/systemd/systemd-coredump %P", "0", Level.OK),
        ("|/usr/lib/systemd/systemd-coredump %P", "unlimited", Level.WARN),
        ("|/usr/local/bin/keep-all", "0", Level.WARN),  # the kernel pipes it with any limit
    ],
)
def test_audit_core_pattern_and_limit_give_level(
    place: TerminalFiles, pattern: str, limit: str, level: Level
) -> None:
    path = root_file(place, "proc/sys/kernel/core_pattern", pattern)
    root_file(place, "proc/4711/limits", LIMITS.format(limit, limit))
    assert of(audit(inputs_of(place)), path).level is level


def test_audit_existing_core_dump_is_a_fault(place: TerminalFiles) -> None:
    path = root_file(place, "var/lib/systemd/coredump/core.facepay.998.x.zst", "x")
    assert of(audit(inputs_of(place)), path).level is Level.FAIL


@pytest.mark.parametrize(
    ("swaps", "closed", "level"),
    [
        ("", False, Level.OK),
        ("/dev/zram0 partition 1 0 100", False, Level.OK),
        ("/var/swap file 102396 0 -2", False, Level.WARN),
        ("/var/swap file 102396 0 -2", True, Level.OK),
    ],
)
def test_audit_swap_on_disk_warns_unless_forbidden_for_the_agent(
    place: TerminalFiles, swaps: str, closed: bool, level: Level
) -> None:
    path = root_file(place, "proc/swaps", f"Filename Type Size Used Priority\n{swaps}\n")
    root_file(place, "proc/4711/cgroup", "0::/system.slice/facepay-agent.service\n")
    group = "sys/fs/cgroup/system.slice/facepay-agent.service/memory.swap.max"
    root_file(place, group, "0\n" if closed else "max\n")
    assert of(audit(inputs_of(place)), path).level is level


# --- output -------------------------------------------------------------------------------------------


def test_doctor_check_reports_the_audit(place: TerminalFiles) -> None:
    assert findings(inputs_of(place), "privacy.audit")["privacy.audit"].verdict == "pass"
    put(place, "odd.bin")
    found = findings(inputs_of(place), "privacy.audit")["privacy.audit"]
    assert found.verdict == "warn" and "odd.bin" in found.why
    put(place, "crop.bin", PORTRAIT)
    found = findings(inputs_of(place), "privacy.audit")["privacy.audit"]
    assert found.verdict == "fail" and "crop.bin: contains a picture (and 1 more)" in found.why
    assert found.remedy is not None and "privacy-audit" in en(found.remedy)


def test_the_command_lists_it_and_its_exit_code_counts(place: TerminalFiles) -> None:
    path = put(place, "crop.bin", PORTRAIT)
    done = CliRunner().invoke(application(), ["privacy-audit", "--config", str(place.folder / "agent.toml")])
    assert done.exit_code == 2 and f"✗ {path}" in done.output and "contains a picture" in done.output
    done = CliRunner().invoke(
        application(), ["privacy-audit", "--json", "--config", str(place.folder / "agent.toml")]
    )
    rows = json.loads(done.stdout)["items"]
    assert [row["level"] for row in rows if row["path"] == str(path)] == ["fail"]


def test_a_config_that_its_profile_forbids_can_be_audited(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'profile = "shop"\n[storage]\ndirectory = "{tmp_path / "state"}"\n')
    done = CliRunner().invoke(application(), ["privacy-audit", "--json", "--config", str(config)])
    assert str(config) in {row["path"] for row in json.loads(done.stdout)["items"]}


def test_rows_name_config_keys_that_exist() -> None:
    config = Config().model_dump()
    words = {word.strip(",") for kind in FILE_KINDS for word in kind.kept.split() if "." in word}
    for word in words:
        section, key = word.split(".")
        assert key in config[section], word


def test_audit_runs_beside_a_hung_agent(place: TerminalFiles) -> None:
    from agent.errors import StatusError

    def hung() -> dict[str, Any]:
        raise StatusError("hung")

    assert worst_level(audit(replace(inputs_of(place), status=hung))) is Level.OK


_TAKE = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def test_audit_in_the_agents_process_keeps_the_locks_of_the_outbox(place: TerminalFiles) -> None:
    path = put(place, database.FILE, PORTRAIT)
    with path.open("r+b") as outbox:
        fcntl.lockf(outbox, fcntl.LOCK_EX)
        assert item_of(audit(inputs_of(place)), path.name).level is Level.OK, "not searched in this process"
        taken = subprocess.run([sys.executable, "-c", _TAKE, path], check=False, capture_output=True)
        assert b"BlockingIOError" in taken.stderr
    assert str(item_of(audit(inputs_of(place)), path.name).finding) == "contains a picture", (
        "searched after it was closed"
    )


def item_of(items: list[AuditItem], name: str) -> AuditItem:
    (found,) = [item for item in items if item.path.endswith(f"/{name}")]
    return found


def test_each_finding_is_written_in_each_language(place: TerminalFiles) -> None:
    (place.storage / "unknown").touch()
    item = of(audit(inputs_of(place)), place.storage / "unknown")
    facts = item.facts()
    assert facts["finding"] == "not a file of this product" and facts["finding_zh"] == "不是本产品的文件"
    reason = stored.privacy(inputs_of(place)).reason
    assert isinstance(reason, Text) and "不是本产品的文件" in zh(reason)
