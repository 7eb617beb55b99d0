"""The frame log of the last verification, as one file in the state directory, for `facepay why`.

Each verification replaces the file.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core import strict_json
from agent.core.frame_log import FrameEntry, FrameLog, StageEntry
from agent.core.model import Result
from agent.core.reasons import FrameReason
from agent.errors import StorageError, failure_at, reason_of
from agent.safe_open import read_plain
from agent.texts import Text

FILE = "last-verification.json"
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LastVerification:
    """A frame log and the result. Times are ms since the arrival of the request."""

    request_id: str
    decision: str
    reason: str
    asks: int
    total_ms: int
    ended_unix_ms: int
    frame_log: FrameLog


def write(directory: Path, result: Result, frame_log: FrameLog, unix_ms: int) -> None:
    """Replace the file in one step, with mode 0600. Raises ``OSError``.

    Not synced to the disk: a sync after each payment wears the card. After a power cut the file can be empty,
    and ``read`` then asks for the next verification.
    """
    tree = {
        "request_id": result.request.request_id,
        **{name: getattr(result, name) for name in ("decision", "reason", "asks")},
        "total_ms": result.timings.total,
        "ended_unix_ms": unix_ms,
        "funnel": frame_log.frames_by_reason,
        "stages": [[stage.after_ms, stage.name] for stage in frame_log.stages],
        "frames": [[frame.after_ms, frame.reason, frame.score] for frame in frame_log.frames],
    }
    part = directory / f"{FILE}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(tree, file, separators=(",", ":"))
    part.replace(directory / FILE)


def read(directory: Path) -> LastVerification:
    """Read the file. Raises ``StorageError`` when the file is missing, unreadable or invalid."""
    path = directory / FILE
    try:
        tree = strict_json.loads(read_plain(path, MAX_BYTES))
    except FileNotFoundError as error:
        fix = Text("fix.no_verification_yet")
        raise StorageError(Text("detail.no_verification_yet", path=path), fix=fix) from error
    except PermissionError as error:
        raise StorageError(failure_at(path, error), fix=Text("fix.run_as_service_user")) from error
    except (OSError, ValueError) as error:
        raise StorageError(failure_at(path, error), fix=Text("fix.verify_again_overwrites_file")) from error
    try:
        return _last(tree)
    except (KeyError, TypeError, ValueError) as error:
        message = Text("detail.other_version", path=path, reason=reason_of(error))
        raise StorageError(message, fix=Text("fix.verify_again")) from error


def _last(tree: object) -> LastVerification:
    if not isinstance(tree, dict):
        raise TypeError("not an object")
    frame_log = FrameLog()
    frame_log.frames_by_reason.update(
        {FrameReason(code): int(count) for code, count in tree["funnel"].items()}
    )
    frame_log.stages = [StageEntry(int(after_ms), str(name)) for after_ms, name in tree["stages"]]
    frame_log.frames = [
        FrameEntry(int(after_ms), FrameReason(code), None if score is None else float(score))
        for after_ms, code, score in tree["frames"]
    ]
    head: dict[str, Any] = {name: str(tree[name]) for name in ("request_id", "decision", "reason")}
    head |= {name: int(tree[name]) for name in ("asks", "total_ms", "ended_unix_ms")}
    return LastVerification(**head, frame_log=frame_log)
