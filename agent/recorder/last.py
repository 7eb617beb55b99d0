"""The story of the last verification in the state directory, for `facepay why`. The next one replaces it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from agent.core import strict_json
from agent.core.frame_log import FrameEntry, FrameLog, StageEntry
from agent.core.model import Result
from agent.core.reasons import FrameReason
from agent.errors import StorageError
from agent.safe_open import read_plain
from agent.texts import Text

FILE = "last-verification.json"
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LastVerification:
    """A story with its ending. Times in ms since the request arrived."""

    request_id: str
    decision: str
    reason: str
    asks: int
    total_ms: int
    ended_unix_ms: int
    story: FrameLog


def write(directory: Path, result: Result, story: FrameLog, unix_ms: int) -> None:
    """Replace the file as a whole, readable by its owner only. Raises ``OSError``."""
    tree = {
        "request_id": result.request.request_id,
        "decision": result.decision,
        "reason": result.reason,
        "asks": result.asks,
        "total_ms": result.timings.total,
        "ended_unix_ms": unix_ms,
        "funnel": story.funnel,
        "stages": [[stage.after_ms, stage.name] for stage in story.stages],
        "frames": [[frame.after_ms, frame.reason, frame.score] for frame in story.frames],
    }
    part = directory / f"{FILE}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(tree, file, separators=(",", ":"))
    part.replace(directory / FILE)


def read(directory: Path) -> LastVerification:
    """Raises ``StorageError``: there is none yet, or it cannot be read."""
    path = directory / FILE
    try:
        tree = strict_json.loads(read_plain(path, MAX_BYTES))
    except FileNotFoundError as error:
        raise StorageError(
            f"{path}: no verification has ended here yet",
            fix=Text("fix.no_verification_yet"),
        ) from error
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: {error.strerror if isinstance(error, OSError) else error}",
            fix=Text("fix.verify_again_overwrites_file"),
        ) from error
    try:
        return _last(tree)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{path}: not what this version writes: {error}",
            fix=Text("fix.verify_again"),
        ) from error


def _last(tree: object) -> LastVerification:
    if not isinstance(tree, dict):
        raise TypeError("not an object")
    story = FrameLog()
    story.funnel.update({FrameReason(word): int(count) for word, count in tree["funnel"].items()})
    story.stages = [StageEntry(int(after_ms), str(name)) for after_ms, name in tree["stages"]]
    story.frames = [
        FrameEntry(int(after_ms), FrameReason(word), None if score is None else float(score))
        for after_ms, word, score in tree["frames"]
    ]
    return LastVerification(
        request_id=str(tree["request_id"]),
        decision=str(tree["decision"]),
        reason=str(tree["reason"]),
        asks=int(tree["asks"]),
        total_ms=int(tree["total_ms"]),
        ended_unix_ms=int(tree["ended_unix_ms"]),
        story=story,
    )
