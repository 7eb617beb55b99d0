"""Trace files in the state directory: one file per day (UTC), limited in age and total size."""

import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from agent.errors import StorageError, failure_at, reason_of
from agent.recorder.trace_json import Recording, from_line, to_line
from agent.safe_open import open_plain, too_long
from agent.texts import Text

FOLDER = "traces"
_PATTERN = "????-??-??.jsonl"
_MAX_LINE_BYTES = 16_000_000  # a minute at 60 frames/s with eight faces in each frame
_MAX_FILE_BYTES = 1_000_000_000  # the largest allowed trace.max_bytes
_DAY_MS = 86_400_000


class TraceFiles:
    """Writer of the trace files. One call at a time."""

    def __init__(self, directory: Path, *, keep_days: int, max_bytes: int) -> None:
        """``directory``: the agent's state directory. ``keep_days``: today included."""
        self._folder = directory / FOLDER
        self._keep_days = keep_days
        self._max_bytes = max_bytes

    def append(self, recorded: Recording) -> None:
        """Append one recording, then prune.

        A recording that alone exceeds ``max_bytes`` is not written. Raises ``OSError``.
        """
        line = to_line(recorded)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if len(line) <= self._max_bytes:
            path = self._folder / f"{_day(recorded.ended_unix_ms)}.jsonl"
            _drop_half_line(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(line)
        self.prune(recorded.ended_unix_ms)

    def prune(self, unix_ms: int) -> None:
        """Delete whole days beyond the limits of age and size, the oldest first. Raises ``OSError``.

        A day in the future is deleted too: the clock was set back, so the age of that file is unknown.
        """
        first, today = _day(unix_ms - (self._keep_days - 1) * _DAY_MS), _day(unix_ms)
        left = list[tuple[Path, int]]()
        for path in days(self._folder):
            if first <= path.stem <= today:
                left.append((path, path.stat().st_size))
            else:
                path.unlink()
        total = sum(size for _, size in left)
        for path, size in left:
            if total <= self._max_bytes:
                return
            path.unlink()
            total -= size


def days(folder: Path) -> list[Path]:
    """The files of a trace folder, oldest first; empty if the folder does not exist."""
    return sorted(folder.glob(_PATTERN))


def read(path: Path) -> Iterator[Recording]:
    """The recordings of one file or one folder, in order. An incomplete last line is skipped.

    Raises:
        StorageError: a file cannot be read, or a line is no recording of this version; names file and line.
    """
    folder = path.is_dir()
    for file in days(path) if folder else [path]:
        try:
            with open_plain(file, links=not folder) as lines:
                if os.fstat(lines.fileno()).st_size > _MAX_FILE_BYTES:
                    raise too_long(file, _MAX_FILE_BYTES)
                yield from _recordings(file, lines)
        except OSError as error:
            raise StorageError(failure_at(file, error), fix=Text("fix.trace_unreadable")) from error


def _recordings(file: Path, lines: BinaryIO) -> Iterator[Recording]:
    for number in itertools.count(1):
        line = lines.readline(_MAX_LINE_BYTES + 1)  # limits a line without end
        try:
            if len(line) > _MAX_LINE_BYTES:
                raise ValueError(f"a line of more than {_MAX_LINE_BYTES} bytes")
            if not line.endswith(b"\n"):
                return  # end of the file, or a power failure during the write
            yield from_line(line)
        except ValueError as error:
            why = Text("detail.not_utf8") if isinstance(error, UnicodeError) else reason_of(error)
            raise StorageError(
                Text("detail.at", place=f"{file}:{number}", reason=why), fix=Text("fix.trace_line_unreadable")
            ) from error


def _drop_half_line(path: Path) -> None:
    """Remove an incomplete last line, which a power failure or a full disk has left."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _day(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1e3, UTC).strftime("%Y-%m-%d")
