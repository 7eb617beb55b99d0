"""Where a face could be left although nobody kept it: logs, temporary files, core dumps, swap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent.diagnostics.item import UNKNOWN, Item, Level, owner_name, shown, unseen
from agent.diagnostics.pictures import file_holds_picture
from agent.diagnostics.world import World
from agent.safe_open import open_plain
from agent.texts import Text

_LOGS = ("var/log/journal", "run/log/journal", "var/log/syslog")
_TEMPORARY = (
    "tmp/facepay*",
    "var/tmp/facepay*",
    "tmp/systemd-private-*-facepay-*/tmp/*",
    "var/tmp/systemd-private-*-facepay-*/tmp/*",
)
_DUMPS = ("var/lib/systemd/coredump/core.facepay*", "var/crash/*facepay*", "core", "core.*")
# programs that a core dump is piped to, which keep nothing of a process whose limit is 0
_HONEST = ("systemd-coredump", "apport")
_FILES_MAX = 2_000


def logs(world: World) -> Iterator[Item]:
    """Which logs there are. What stands in them is written by ``agent.log``: no bytes, nothing secret."""
    for name in _LOGS:
        path = world.root / name
        try:
            about = path.stat()
        except FileNotFoundError:
            continue
        except OSError:
            yield unseen(path)
            continue
        yield Item(
            str(path),
            "what happened, for support",
            "ids of requests and tills, reasons; no picture",
            "in memory until the next start"
            if name.startswith("run")
            else "as journald.conf or logrotate say",
            owner=owner_name(about.st_uid),
        )


def temporary(world: World) -> Iterator[Item]:
    """The product makes no temporary file; `facepay demo` and the till kit do, and take theirs away."""
    for pattern in _TEMPORARY:
        for path in sorted(world.root.glob(pattern)):
            try:
                about, picture = path.lstat(), _holds_picture(path)
            except FileNotFoundError:
                continue
            except OSError:
                yield unseen(path)
                continue
            age_s = max(0, round(world.unix_ms() / 1e3 - about.st_mtime))
            yield Item(
                shown(path),
                "left in a temporary folder",
                "unknown",
                "until it is deleted",
                about.st_size,
                age_s,
                owner_name(about.st_uid),
                level=Level.FAIL if picture else Level.WARN,
                finding="a picture is in it" if picture else "left behind, or a demo that still runs",
                remedy=UNKNOWN,
            )


def _holds_picture(path: Path) -> bool:
    if path.is_symlink():
        return False
    files = [path]
    if path.is_dir():
        below = (Path(base) / name for base, _, names in os.walk(path) for name in names)
        files = [each for _, each in zip(range(_FILES_MAX), below, strict=False)]
    for each in files:
        if each.is_file() and not each.is_symlink():
            with open_plain(each) as file:
                if file_holds_picture(file):
                    return True
    return False


def dumps(world: World, pid: int | None) -> Iterator[Item]:
    """Core dumps that lie there, and whether a crash of the running agent would leave one."""
    for pattern in _DUMPS:
        for path in sorted(world.root.glob(pattern)):
            if path.is_file():
                yield Item(
                    shown(path),
                    "core dump",
                    "memory of the process: faces, keys",
                    "until it is deleted",
                    path.stat().st_size,
                    level=Level.FAIL,
                    finding="a core dump may hold a face and a key",
                    remedy=Text("fix.delete_core_dump"),
                )
    yield _limit(world, pid)


def _limit(world: World, pid: int | None) -> Item:
    setting = world.root / "proc/sys/kernel/core_pattern"
    pattern = _text(setting).strip()
    if pid is None or not pattern:
        return Item(str(setting), f"core dumps: {pattern or 'not known'}; no agent runs that could be asked")
    line = next(
        (each for each in _text(world.root / f"proc/{pid}/limits").splitlines() if "core" in each), ""
    )
    soft = line.removeprefix("Max core file size").split()
    made = Item(
        str(setting), f"core dumps go to {pattern!r}, the agent's limit is {soft[0] if soft else '?'}"
    )
    if not soft:
        return Item(
            made.path, made.purpose, level=Level.UNSEEN, finding="its limits cannot be read; sudo may"
        )
    honest = not pattern.startswith("|") or any(name in pattern for name in _HONEST)
    if soft[0] == "0" and honest:
        return made
    return Item(
        made.path,
        made.purpose,
        level=Level.WARN,
        finding="a crash of the agent would leave its memory on disk",
        remedy=Text("fix.core_dumps_enabled"),
    )


def swap(world: World, pid: int | None) -> Item:
    """Memory that the kernel may write to a disk."""
    path = world.root / "proc/swaps"
    rows = [line.split()[0] for line in _text(path).splitlines()[1:] if line.strip()]
    disks = [name for name in rows if "zram" not in name]
    if not disks:
        return Item(str(path), "swap: none on a disk")
    if pid is not None and _may_not_swap(world, pid):
        return Item(str(path), f"swap on {', '.join(disks)}, closed to the agent (MemorySwapMax=0)")
    return Item(
        str(path),
        f"swap on {', '.join(disks)}",
        "memory of the process: faces, keys",
        "until the kernel writes over it",
        level=Level.WARN,
        finding="the agent's memory may be written to it",
        remedy=Text("fix.switch_off_swap"),
    )


def _may_not_swap(world: World, pid: int) -> bool:
    group = _text(world.root / f"proc/{pid}/cgroup").strip().rpartition("::")[2].lstrip("/")
    return _text(world.root / "sys/fs/cgroup" / group / "memory.swap.max").strip() == "0"


def _text(path: Path) -> str:
    """Empty when it is not there or may not be read: what follows from that its caller says."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
