"""Reads the state of the outbox file from another process, beside a running agent or without one.

Changes nothing on the disk.
"""

import sqlite3
from pathlib import Path

from agent.errors import StorageError, failure_at, reason_of
from agent.health.probe_results import OutboxProbe
from agent.outbox.database import FILE
from agent.safe_open import check_plain
from agent.texts import Text

_OPEN = "SELECT count(*), min(settled_unix_ms) FROM result WHERE open = 1"


def inspect_outbox(directory: Path) -> OutboxProbe | None:
    """Depth and damage of the outbox in ``directory``; None when there is no file yet.

    Raises:
        StorageError: ``storage_denied`` (this user has no read permission), or the file is locked.
    """
    path, fix = directory / FILE, Text("fix.run_as_service_user")
    try:
        if not path.exists():
            return None
        for file in (path, *directory.glob(f"{FILE}-[ws][ah][lm]")):
            check_plain(file)  # SQLite reports only "unable to open", and waits for a pipe
        set_aside = len(list(directory.glob(f"{FILE}.damaged-*[0-9]")))
        depth, oldest, damage = _read_database(path)
    except PermissionError as error:
        message = Text("detail.no_permission", path=path)
        raise StorageError(message, code="storage_denied", fix=fix) from error
    except (OSError, sqlite3.OperationalError) as error:
        raise StorageError(failure_at(path, error), fix=fix) from error
    except sqlite3.DatabaseError as error:
        return OutboxProbe(0, None, reason_of(error), set_aside)
    return OutboxProbe(depth, oldest, damage, set_aside)


def _read_database(path: Path) -> tuple[int, int | None, str]:
    """(number of unacknowledged results, unix ms of the oldest, damage)."""
    # Without a journal no process has the file open. "immutable" then keeps SQLite from creating a journal.
    journal = path.with_name(f"{path.name}-wal")
    mode = "mode=ro" if journal.exists() else "mode=ro&immutable=1"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=3.0)
    try:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        depth, oldest = db.execute(_OPEN).fetchone()
    finally:
        db.close()
    return depth, oldest, "" if verdict == "ok" else str(verdict)
