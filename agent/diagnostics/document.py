"""The status document: what a running agent says about itself. Numbers and words, no pixels, no secrets."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from typing import Any

from agent import __version__
from agent.config import Config
from agent.core.model import Result
from agent.health.conditions import Condition
from agent.health.counters import Counters, snapshot
from agent.health.notify import is_supervised

SCHEMA = "facepay.status/1"
LAST_MAX = 10


@dataclass(frozen=True, slots=True)
class Now:
    """What the composition root reads off the running parts, at one moment."""

    uptime_s: int
    conditions: tuple[Condition, ...]
    counters: Counters
    camera: dict[str, Any]  # of ``health.frames.FrameMeter``
    connected: bool  # to the broker
    outbox_depth: int  # results that no till has acknowledged
    config_refused: str = ""  # why a changed config file is not in force


def fingerprint(config: Config) -> str:
    """sha256 of every value in force, lower-case hex. A config holds no secret, only the files' names."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def document(config: Config, now: Now) -> dict[str, Any]:
    """Plain values for JSON."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "site": config.site,
        "terminal": config.terminal,
        "profile": config.profile,
        "config_sha256": fingerprint(config),
        "config_refused": now.config_refused,
        "pid": os.getpid(),
        "supervised": is_supervised(),
        "uptime_s": now.uptime_s,
        "status": "degraded" if now.conditions else "online",
        "conditions": [asdict(condition) for condition in now.conditions],
        "camera": {"kind": config.camera.kind, **now.camera},
        "mqtt": {"connected": now.connected, "outbox_depth": now.outbox_depth},
        "counters": snapshot(now.counters),
        "last": [_ended(result) for result in list(now.counters.recent)[: -LAST_MAX - 1 : -1]],
    }


def _ended(result: Result) -> dict[str, Any]:
    """One verification, without whose it was."""
    return {
        "decision": result.decision,
        "reason": result.reason,
        "asks": result.asks,
        "api_code": result.api_code,
        "timings_ms": asdict(result.timings),
    }
