"""Data that may contain a face outside the product's folders: logs, temporary files, core dumps, swap."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.picture_search import file_holds_picture
from agent.diagnostics.stored_files import AuditItem, Level, owner_name, printable_path, unreadable
from agent.safe_open import open_plain
from agent.texts import Text

_LOGS = ("var/log/journal", "run/log/journal", "var/log/syslog")
_OF_UNITS = "tmp/systemd-private-*-facepay-*/tmp/*"
_TEMPORARY = ("tmp/facepay*", "var/tmp/facepay*", _OF_UNITS, f"var/{_OF_UNITS}")
_DUMPS = ("var/lib/systemd/coredump/core.facepay*", "var/crash/*facepay*", "core", "core.*")
# core dump handlers that keep nothing of a process whose core limit is 0
_LIMIT_HANDLERS = ("systemd-coredump", "apport")
_MEMORY = "memory of the process: faces, keys"
_FILES_MAX = 2_000


def logs(inputs: CheckInputs) -> Iterator[AuditItem]:
    """The existing logs. ``agent.log`` writes the lines of the agent: no bytes, no secret."""
    for name in _LOGS:
        path = inputs.root / name
        try:
            log_stat = path.stat()
        except FileNotFoundError:
            continue
        except OSError:
            yield unreadable(path)
            continue
        kept = "as configured in journald.conf or logrotate"
        if name.startswith("run"):
            kept = "in memory until the next start"
        personal = "ids of requests and tills, reasons; no picture"
        yield AuditItem(str(path), "events, for support", personal, kept, owner=owner_name(log_stat.st_uid))


def temporary(inputs: CheckInputs) -> Iterator[AuditItem]:
    """Temporary files of the product. The agent makes none; `facepay demo` and the till kit delete theirs."""
    for pattern in _TEMPORARY:
        for path in sorted(inputs.root.glob(pattern)):
            try:
                about, picture = path.lstat(), _holds_picture(path)
            except FileNotFoundError:
                continue
            except OSError:
                yield unreadable(path)
                continue
            age_s = max(0, round(inputs.unix_ms() / 1e3 - about.st_mtime))
            what = "left in a temporary folder", "unknown", "until it is deleted"
            item = AuditItem(printable_path(path), *what, about.st_size, age_s, owner_name(about.st_uid))
            if picture:
                yield item.with_finding(Text("why.privacy.picture"), level=Level.FAIL)
            elif _is_in_use(inputs, path):
                yield replace(item, purpose="in use by a running process", kept="until the process ends")
            else:
                yield item.with_finding(Text("why.privacy.not_deleted"))


def _is_in_use(inputs: CheckInputs, path: Path) -> bool:
    """Whether a process that is visible to this user has the file, or a file below the folder, open."""
    place = Path("/") / path.relative_to(inputs.root)
    for descriptor in (inputs.root / "proc").glob("[0-9]*/fd/*"):
        try:
            if descriptor.readlink().is_relative_to(place):
                return True
        except OSError:
            continue  # the process ended, or belongs to another user
    return False


def _holds_picture(path: Path) -> bool:
    if path.is_symlink():
        return False
    files = [path]
    if path.is_dir():
        below = (Path(base) / name for base, _, names in os.walk(path) for name in names)
        files = [file for _, file in zip(range(_FILES_MAX), below, strict=False)]
    for file in files:
        if file.is_file() and not file.is_symlink():
            with open_plain(file) as opened:
                if file_holds_picture(opened):
                    return True
    return False


def core_dumps(inputs: CheckInputs, pid: int | None) -> Iterator[AuditItem]:
    """Existing core dumps, and whether a crash of the running agent would write one."""
    for pattern in _DUMPS:
        for path in sorted(inputs.root.glob(pattern)):
            if path.is_file():
                item = AuditItem(
                    printable_path(path), "core dump", _MEMORY, "until it is deleted", path.stat().st_size
                )
                fix = Text("fix.delete_core_dump")
                yield item.with_finding(Text("why.privacy.core_dump"), fix, Level.FAIL)
    yield _core_limit(inputs, pid)


def _core_limit(inputs: CheckInputs, pid: int | None) -> AuditItem:
    setting = inputs.root / "proc/sys/kernel/core_pattern"
    pattern = _read_text(setting).strip()
    if pid is None or not pattern:
        return AuditItem(str(setting), f"core dumps: {pattern or 'not known'}; no agent is running")
    limits = _read_text(inputs.root / f"proc/{pid}/limits")
    soft = re.search(r"^Max core file size +(\S+)", limits, re.M)
    limit = soft[1] if soft else "?"
    item = AuditItem(str(setting), f"core dumps go to {pattern!r}, the agent's limit is {limit}")
    if soft is None:
        return item.with_finding(Text("why.privacy.limits_unreadable"), None, Level.UNREADABLE)
    applies_limit = not pattern.startswith("|") or any(name in pattern for name in _LIMIT_HANDLERS)
    if limit == "0" and applies_limit:
        return item
    return item.with_finding(Text("why.privacy.core_dumps_enabled"), Text("fix.core_dumps_enabled"))


def swap(inputs: CheckInputs, pid: int | None) -> AuditItem:
    """Whether the kernel may write the agent's memory to a disk."""
    path = inputs.root / "proc/swaps"
    rows = [line.split()[0] for line in _read_text(path).splitlines()[1:] if line.strip()]
    disks = [name for name in rows if "zram" not in name]
    if not disks:
        return AuditItem(str(path), "swap: none on a disk")
    group = _read_text(inputs.root / f"proc/{pid}/cgroup").strip().rpartition("::")[2].lstrip("/")
    group_max = _read_text(inputs.root / "sys/fs/cgroup" / group / "memory.swap.max").strip()
    if pid is not None and group_max == "0":
        return AuditItem(str(path), f"swap on {', '.join(disks)}, not for the agent (MemorySwapMax=0)")
    item = AuditItem(str(path), f"swap on {', '.join(disks)}", _MEMORY, "until the kernel overwrites it")
    return item.with_finding(Text("why.privacy.swap"), Text("fix.switch_off_swap"))


def _read_text(path: Path) -> str:
    """The text of a file; empty when the file is absent or unreadable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
