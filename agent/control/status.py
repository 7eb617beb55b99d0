"""The status document: what a running agent says about itself. Numbers and words, no pixels, no secrets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agent import __version__
from agent.config import Config
from agent.control.server import SCHEMA
from agent.core.model import Result
from agent.health.condition_tracker import ShownCondition
from agent.health.counters import Counters, snapshot
from agent.health.notify import is_supervised
from agent.texts import named

LAST_MAX = 10


@dataclass(frozen=True, slots=True)
class Now:
    """What the composition root reads off the running parts, at one moment."""

    uptime_s: int
    conditions: tuple[ShownCondition, ...]
    counters: Counters
    camera: dict[str, Any]  # of ``health.frames.FrameMeter``
    connected: bool  # to the broker
    outbox_depth: int  # results that no till has acknowledged
    config_refused: str = ""  # why a changed config file is not in force
    till: Mapping[str, int] = field(default_factory=dict)  # of ``till.mqtt_till.MqttTill``
    process: Mapping[str, float] = field(default_factory=dict)  # of ``health.process``


def fingerprint(config: Config) -> str:
    """sha256 of every value in force, lower-case hex. A config holds no secret, only the files' names."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def document(config: Config, now: Now) -> dict[str, Any]:
    """Plain values for JSON. ``conditions`` are what can be mended; ``consequences`` hang on one of them."""
    causes = [_cause(each) for each in now.conditions if not each.because]
    consequences = [
        {"code": each.condition.code, "because": each.because} for each in now.conditions if each.because
    ]
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
        "status": "degraded" if causes else "online",
        "conditions": causes,
        "consequences": consequences,
        "camera": {"kind": config.camera.kind, **now.camera},
        "mqtt": {"connected": now.connected, "outbox_depth": now.outbox_depth},
        "till": dict(now.till),
        "process": dict(now.process),
        "counters": snapshot(now.counters),
        "last": [_ended(result) for result in list(now.counters.recent)[: -LAST_MAX - 1 : -1]],
    }


def health_facts(now: Now) -> dict[str, Any]:
    """The same numbers for MQTT ``health``, where the back office has no other way to them."""
    return {
        "uptime_s": now.uptime_s,
        "conditions": [each.condition.code for each in now.conditions if not each.because],
        "camera": now.camera,
        "process": dict(now.process),
        **snapshot(now.counters),
        "till": dict(now.till),
    }


def _cause(shown: ShownCondition) -> dict[str, Any]:
    condition = shown.condition
    texts = {
        **named("title", condition.title),
        **named("cause", condition.cause),
        **named("fix", condition.fix),
    }
    lasted_s = shown.lasted_ms // 1_000
    detail = {"detail": shown.detail} if shown.detail else {}
    return {"code": condition.code, **texts, "severity": condition.severity, "lasted_s": lasted_s} | detail


def _ended(result: Result) -> dict[str, Any]:
    """One verification, without whose it was."""
    return {
        "decision": result.decision,
        "reason": result.reason,
        "asks": result.asks,
        "api_code": result.api_code,
        "timings_ms": asdict(result.timings),
    }
