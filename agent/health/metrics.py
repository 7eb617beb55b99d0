"""The status document as Prometheus text. Declared data, one row per metric. Pure.

Names follow the rules of Prometheus: base units (seconds, bytes), ``_total`` for a counter.
docs/reference/metrics.md is generated from ``METRICS``.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from agent.core.reasons import Decision, FrameReason, Reason, Refusal
from agent.health.conditions import CONDITIONS
from agent.health.counters import PHASES
from agent.health.exposition import Metric, Sample, exposition

_IDENTITY = ("version", "site", "terminal", "profile", "config_sha256")

Tree = Mapping[str, Any]
Read = Callable[[Tree], Iterable[Sample]]

_gauge, _counter = partial(Metric, "gauge"), partial(Metric, "counter")


def _one(path: str, scale: float = 1) -> Read:
    """Reader of the number at this dotted path of the document."""

    def read(tree: Tree) -> Iterable[Sample]:
        value: Any = tree
        for key in path.split("."):
            value = None if value is None else value.get(key)
        return () if value is None else [((), value if scale == 1 else value * scale)]

    return read


def _by(labels: Iterable[str], *path: str) -> Read:
    """Reader of one sample per label value, 0 without events: a late series would lose its first event."""
    known = dict.fromkeys(labels, 0)

    def read(tree: Tree) -> Iterable[Sample]:
        counts: Any = tree
        for key in path:
            counts = counts.get(key, {})
        return [(tuple(label.split("/")), count) for label, count in (known | dict(counts)).items()]

    return read


def _info(tree: Tree) -> Iterable[Sample]:
    return [((*(str(tree[name]) for name in _IDENTITY), str(tree["camera"]["kind"])), 1)]


def _conditions(tree: Tree) -> Iterable[Sample]:
    active = {each["code"] for each in tree["conditions"]}
    return [((code, each.severity), int(code in active)) for code, each in CONDITIONS.items()]


def _phases(tree: Tree) -> Iterable[Sample]:
    timings = tree["counters"]["timings_ms"]
    return [((phase,), timings[phase]) for phase in PHASES if phase in timings]


def outcome(reason: Reason) -> str:
    decisions = {Reason.SAME_PERSON: Decision.MATCH, Reason.DIFFERENT_PERSON: Decision.NO_MATCH}
    return f"{decisions.get(reason, Decision.UNDECIDED)}/{reason}"


METRICS: tuple[Metric[Tree], ...] = (
    _gauge(
        "facepay_terminal_info", "Always 1; the labels identify the terminal.", _info, (*_IDENTITY, "camera")
    ),
    _gauge("facepay_uptime_seconds", "Since this process started.", _one("uptime_s")),
    _gauge(
        "facepay_condition",
        "1 while this condition is active, else 0; the codes are those of the retained state.",
        _conditions,
        ("code", "severity"),
    ),
    _counter(
        "facepay_frames_total",
        "Frames handled, by result of the analysis.",
        _by(FrameReason, "counters", "frames"),
        ("reason",),
    ),
    _counter(
        "facepay_results_total",
        "Verifications that ended, by decision and reason.",
        _by((outcome(reason) for reason in Reason), "counters", "results"),
        ("decision", "reason"),
    ),
    _counter(
        "facepay_refusals_total",
        "Refused requests, without a verification, by reason.",
        _by(Refusal, "counters", "refusals"),
        ("reason",),
    ),
    Metric(
        "histogram",
        "facepay_verification_seconds",
        "Duration of one step of a verification, from 1 ms; phase total: request to result.",
        _phases,
        ("phase",),
    ),
    _counter("facepay_api_calls_total", "Paid calls of the compare API.", _one("counters.calls")),
    _counter(
        "facepay_api_calls_saved_total",
        "Frames of open verifications that were analyzed and not sent, by reason.",
        _by((each for each in FrameReason if each is not FrameReason.IDLE), "counters", "calls_saved_by"),
        ("reason",),
    ),
    _counter(
        "facepay_api_sent_bytes_total",
        "Bytes of encoded faces sent to the compare API.",
        _one("counters.bytes_sent"),
    ),
    _gauge("facepay_mqtt_connected", "1 while the broker is connected.", _one("mqtt.connected")),
    _counter(
        "facepay_mqtt_inbound_dropped_total",
        "Messages of tills dropped by a limit, and rejected acks and cancels without an answer.",
        _one("till.inbound_dropped"),
    ),
    _gauge("facepay_outbox_results", "Results that no till has acknowledged yet.", _one("mqtt.outbox_depth")),
    _counter(
        "facepay_outbox_expired_total",
        "Results that expired before a till acknowledged them.",
        _one("till.expired_unacknowledged"),
    ),
    _counter(
        "facepay_outbox_withheld_total", "Matches that were too late to be sent.", _one("till.withheld")
    ),
    _gauge(
        "facepay_camera_frames_per_second",
        "Rate of the camera over its last frames; 0 without fresh frames.",
        _one("camera.fps"),
    ),
    _gauge(
        "facepay_camera_frame_age_seconds",
        "Age of the newest frame; absent before the first one.",
        _one("camera.frame_age_ms", scale=1e-3),
    ),
    _gauge(
        "facepay_camera_mean_luma",
        "Brightness of the newest frame, 0 to 255; absent before the first one.",
        _one("camera.mean_luma"),
    ),
    _gauge("process_resident_memory_bytes", "Memory in use (RSS).", _one("process.rss_bytes")),
    _counter("process_cpu_seconds_total", "Processor time, user and system.", _one("process.cpu_s")),
    _gauge("process_open_fds", "Open file descriptors.", _one("process.open_files")),
    _gauge("process_max_fds", "Limit of open file descriptors.", _one("process.max_files")),
    _gauge("process_threads", "Threads of the process.", _one("process.threads")),
)


def render(document: Tree) -> bytes:
    """Prometheus text of a status document of ``control.status``: about 20 kB, independent of events."""
    return exposition(METRICS, document)
