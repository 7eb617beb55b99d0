"""The status document of a running agent: numbers and texts, no pixels, no secrets."""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agent import __version__
from agent.config import Config
from agent.control.server import SCHEMA
from agent.core.model import Result
from agent.core.pace import Pace
from agent.health.condition_tracker import ShownCondition
from agent.health.counters import Counters, snapshot
from agent.health.notify import is_supervised
from agent.log import without_url_secrets
from agent.texts import Text, json_fields

LAST_MAX = 10


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """The values of the running parts at one time. The composition root reads them."""

    uptime_s: int
    conditions: tuple[ShownCondition, ...]
    counters: Counters
    camera: dict[str, Any]  # from ``health.frame_meter.FrameMeter``
    is_connected: bool  # to the broker
    outbox_depth: int  # results that no till has acknowledged
    config_refused: Text | None = None  # the reason why a changed config file is not in force
    till: Mapping[str, int] = field(default_factory=dict)  # from ``till.adapter.MqttTill``
    process: Mapping[str, float] = field(default_factory=dict)  # from ``health.process``
    unix_ahead_ms: int = 0  # wall clock minus boot clock
    api_answered_s: int | None = None  # since the newest good answer of the compare API; None: none yet
    pace: Pace | None = None  # None: the speed is not measured yet
    key_sha256: str = ""  # fingerprint of the public key in use
    stamps: Mapping[str, str] = field(
        default_factory=dict
    )  # at the start: ``config.secret_files.file_stamps``
    refused_tills: Mapping[str, str] = field(default_factory=dict)  # of ``health.till_meter``


def config_fingerprint(config: Config) -> str:
    """SHA-256 of all values in force, lower-case hex. A config contains no secret, only names of files."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def status_document(config: Config, now: StatusFacts) -> dict[str, Any]:
    """Plain values for JSON. ``conditions``: faults to fix; ``consequences``: faults that these cause."""
    causes = [_cause(shown) for shown in now.conditions if not shown.because]
    consequences = [
        {"code": shown.condition.code, "because": shown.because} for shown in now.conditions if shown.because
    ]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "site": config.site,
        "terminal": config.terminal,
        "profile": config.profile,
        "config_sha256": config_fingerprint(config),
        **_without_secrets(json_fields("config_refused", now.config_refused)),
        "key_sha256": now.key_sha256,
        "stamps": dict(now.stamps),
        "pid": os.getpid(),
        "supervised": is_supervised(),
        "uptime_s": now.uptime_s,
        "status": "degraded" if causes else "online",
        "conditions": causes,
        "consequences": consequences,
        "camera": {"kind": config.camera.kind, **now.camera},
        "pace": None if now.pace is None else _pace(now.pace),
        "mqtt": {"connected": now.is_connected, "outbox_depth": now.outbox_depth},
        "api": {"answered_s": now.api_answered_s},
        "till": dict(now.till),
        "refused_tills": dict(now.refused_tills),
        "process": dict(now.process),
        "counters": snapshot(now.counters),
        "last": [
            _verification(result, now.unix_ahead_ms)
            for result in list(now.counters.recent)[: -LAST_MAX - 1 : -1]
        ],
    }


def health_facts(now: StatusFacts) -> dict[str, Any]:
    """The fields of the MQTT message ``health``, for a back office without access to the socket."""
    return {
        "uptime_s": now.uptime_s,
        "conditions": [shown.condition.code for shown in now.conditions if not shown.because],
        "camera": now.camera,
        "process": dict(now.process),
        **snapshot(now.counters),
        "till": dict(now.till),
    }


def pace_text(pace: Pace) -> Text:
    """One sentence about the measured speed and the pace."""
    ms = "?" if pace.detection_ms is None or math.isnan(pace.detection_ms) else f"{pace.detection_ms:.0f}"
    return Text("camera.pace", detection_ms=ms, fps=f"{pace.fps:g}", width_px=pace.width_px)


def _pace(pace: Pace) -> dict[str, Any]:
    values = {"width_px": pace.width_px, "fps": pace.fps, "reduced": pace.is_reduced}
    detection_ms = None if pace.detection_ms is None else round(pace.detection_ms, 1)
    return {"detection_ms": detection_ms, **values, **json_fields("text", pace_text(pace))}


def _without_secrets(written: Mapping[str, str]) -> dict[str, str]:
    return {name: without_url_secrets(text) for name, text in written.items()}


def _cause(shown: ShownCondition) -> dict[str, Any]:
    condition = shown.condition
    return {
        "code": condition.code,
        **json_fields("title", condition.title),
        **json_fields("cause", condition.cause),
        **json_fields("fix", condition.fix),
        "docs": f"docs/reference/conditions.md#{condition.code}",
        "severity": condition.severity,
        "lasted_s": shown.lasted_ms // 1_000,
        **(_without_secrets(json_fields("detail", shown.detail)) if shown.detail else {}),
    }


def _verification(result: Result, unix_ahead_ms: int) -> dict[str, Any]:
    """One ended verification: the id of the request finds it in the till's log. No id of the sale."""
    request = result.request
    return {
        "ended_unix_ms": request.received_ms + result.timings.total + unix_ahead_ms,
        "till": request.till,
        "request_id": request.request_id,
        "decision": result.decision,
        "reason": result.reason,
        "asks": result.asks,
        "api_code": result.api_code,
        "timings_ms": asdict(result.timings),
    }
