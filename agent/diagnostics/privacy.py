"""The privacy audit: purpose, owner, age and mode of each stored file. Changes nothing."""

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.config import Config
from agent.config.secret_files import is_credential, secret_files
from agent.diagnostics import residual_data
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.picture_search import SEARCH_MAX_BYTES, file_holds_picture
from agent.diagnostics.stored_files import (
    UNREADABLE,
    AuditItem,
    FileKind,
    FileLocation,
    Level,
    kind_of,
    owner_name,
    printable_path,
    unreadable,
)
from agent.errors import StatusError
from agent.safe_open import open_plain
from agent.texts import Text

ENTRIES_MAX = 5_000


def audit(inputs: CheckInputs) -> list[AuditItem]:
    """All items, in the order: config, secrets, state, runtime, logs, temporary files, dumps, swap.

    Raises ``ConfigError``: the config cannot be loaded, so the state directory is unknown.
    """
    config = inputs.config()
    pid = _agent_pid(inputs)
    state, runtime = config.storage.directory, inputs.root / FileLocation.RUNTIME.lstrip("/")
    return [
        *_config_items(inputs, config),
        *_folder_items(inputs, FileLocation.STATE, state),
        *(_folder_items(inputs, FileLocation.RUNTIME, runtime) if runtime != state else ()),
        *residual_data.logs(inputs),
        *residual_data.temporary(inputs),
        *residual_data.core_dumps(inputs, pid),
        residual_data.swap(inputs, pid),
    ]


def worst_level(items: list[AuditItem]) -> Level:
    return max((item.level for item in items), default=Level.OK)


def _agent_pid(inputs: CheckInputs) -> int | None:
    try:
        running = inputs.status_if_running()
    except StatusError:
        return None
    return None if running is None else int(running["pid"])


def _config_items(inputs: CheckInputs, config: Config) -> Iterator[AuditItem]:
    etc = inputs.root / FileLocation.CONFIG.lstrip("/")
    file = inputs.config_file
    if file is not None and not file.is_relative_to(etc):
        yield _file_item(inputs, file, kind_of(FileLocation.CONFIG, "agent.toml"))
    for key, path in secret_files(config).items():
        if not path.is_relative_to(etc):
            kind = kind_of(FileLocation.CONFIG, "credentials/x")
            if kind is not None and path.exists():
                # systemd 254 gives the service access through an ACL; its mask is in the group's bits
                forbidden = 0o037 if is_credential(path) else kind.forbidden
                yield _file_item(
                    inputs, path, replace(kind, purpose=f"{key} of the config", forbidden=forbidden)
                )
    yield from _folder_items(inputs, FileLocation.CONFIG, etc)


def _folder_items(inputs: CheckInputs, location: FileLocation, folder: Path) -> Iterator[AuditItem]:
    """Every file below a folder of the product. A link is an entry and is not followed."""
    denied = list[Path]()
    count = 0
    for base, folders, names in os.walk(folder, onerror=lambda error: denied.append(Path(error.filename))):
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        for name in sorted([*names, *links]):
            count += 1
            path = Path(base) / name
            if count <= ENTRIES_MAX:
                yield _file_item(inputs, path, kind_of(location, path.relative_to(folder).as_posix()))
    if count > ENTRIES_MAX:
        yield AuditItem(str(folder), "").with_finding(
            Text("why.privacy.entries", count=count), level=Level.FAIL
        )
    yield from (unreadable(path) for path in denied if path.exists())


def _file_item(inputs: CheckInputs, path: Path, kind: FileKind | None) -> AuditItem:
    try:
        file_stat = path.lstat()
    except FileNotFoundError:
        return AuditItem(printable_path(path), "deleted during the audit")
    except OSError:
        return unreadable(path)
    description = (kind.purpose, kind.personal, kind.kept) if kind else ("unknown",) * 3
    item = AuditItem(
        printable_path(path),
        *description,
        file_stat.st_size,
        max(0, round(inputs.unix_ms() / 1e3 - file_stat.st_mtime)),
        owner_name(file_stat.st_uid),
        stat.filemode(file_stat.st_mode),
    )
    return _with_finding(item, path, file_stat, kind)


def _is_open_here(file_stat: os.stat_result) -> bool:
    """Whether this process has the file open, as the agent has its outbox open during its own doctor.

    Such a file is not searched: a second close would release the locks that SQLite holds on it (POSIX: any
    close releases all locks of the process), and another program could remove the journal. The separate
    processes `facepay privacy-audit` and `facepay doctor` search the file.
    """
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            open_stat = descriptor.stat()
        except OSError:  # closed in the meantime
            continue
        if os.path.samestat(open_stat, file_stat):
            return True
    return False


def _with_finding(item: AuditItem, path: Path, file_stat: os.stat_result, kind: FileKind | None) -> AuditItem:
    if stat.S_ISREG(file_stat.st_mode) and not _is_open_here(file_stat):
        try:
            with open_plain(path) as file:
                if file_holds_picture(file):
                    return item.with_finding(
                        Text("why.privacy.picture"), Text("fix.hand_over_picture"), Level.FAIL
                    )
            if file_stat.st_size > SEARCH_MAX_BYTES:
                return item.with_finding(Text("why.privacy.too_large", most_mb=SEARCH_MAX_BYTES >> 20))
        except OSError:
            item = item.with_finding(UNREADABLE, None, Level.UNREADABLE)
    if kind is None:
        return item.with_finding(Text("why.privacy.unknown_file"))
    if stat.S_ISLNK(file_stat.st_mode):
        return item.with_finding(Text("why.privacy.link"))
    if not (stat.S_ISREG(file_stat.st_mode) or stat.S_ISSOCK(file_stat.st_mode)):
        return item.with_finding(Text("why.privacy.device"))
    if file_stat.st_mode & kind.forbidden:
        command = f"chmod {'o=' if kind.forbidden <= 0o007 else 'go='} {shlex.quote(printable_path(path))}"
        remedy = Text("fix.run_command", command=command)
        return item.with_finding(Text("why.privacy.other_users"), remedy, Level.FAIL)
    if kind.age_max_s is not None and (item.age_s or 0) > kind.age_max_s:
        why = Text("why.privacy.too_old", hours=kind.age_max_s // 3_600)
        return item.with_finding(why, Text("fix.hand_over_then_delete"))
    return item
