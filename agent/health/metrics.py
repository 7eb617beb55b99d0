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


def _number_at(path: str, scale: float = 1) -> Read:
    """Reader of the number at this dotted path of the document."""

    def read(tree: Tree) -> Iterable[Sample]:
        value: Any = tree
        for key in path.split("."):
            value = None if value is None else value.get(key)
        return () if value is None else [((), value if scale == 1 else value * scale)]

    return read


def _counts_by_label(labels: Iterable[str], *path: str) -> Read:
    """Reader of one sample per label value, 0 without events: a late series would lose its first event."""
    zero_counts = dict.fromkeys(labels, 0)

    def read(tree: Tree) -> Iterable[Sample]:
        counts: Any = tree
        for key in path:
            counts = counts.get(key, {})
        return [(tuple(label.split("/")), count) for label, count in (zero_counts | dict(counts)).items()]

    return read


def _info(tree: Tree) -> Iterable[Sample]:
    return [((*(str(tree[name]) for name in _IDENTITY), str(tree["camera"]["kind"])), 1)]


def _conditions(tree: Tree) -> Iterable[Sample]:
    active = {condition["code"] for condition in tree["conditions"]}
    return [((code, condition.severity), int(code in active)) for code, condition in CONDITIONS.items()]


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
    _gauge("facepay_uptime_seconds", "Since this process started.", _number_at("uptime_s")),
    _gauge(
        "facepay_condition",
        "1 while this condition is active, else 0; the codes are those of the retained state.",
        _conditions,
        ("code", "severity"),
    ),
    _counter(
        "facepay_frames_total",
        "Frames handled, by result of the analysis.",
        _counts_by_label(FrameReason, "counters", "frames"),
        ("reason",),
    ),
    _counter(
        "facepay_results_total",
        "Verifications that ended, by decision and reason.",
        _counts_by_label((outcome(reason) for reason in Reason), "counters", "results"),
        ("decision", "reason"),
    ),
    _counter(
        "facepay_refusals_total",
        "Refused requests, without a verification, by reason.",
        _counts_by_label(Refusal, "counters", "refusals"),
        ("reason",),
    ),
    Metric(
        "histogram",
        "facepay_verification_seconds",
        "Duration of one step of a verification, from 1 ms; phase total: request to result.",
        _phases,
        ("phase",),
    ),
    _counter("facepay_api_calls_total", "Paid calls of the compare API.", _number_at("counters.calls")),
    _counter(
        "facepay_api_calls_saved_total",
        "Frames of open verifications that were analyzed and not sent, by reason.",
        _counts_by_label(
            (reason for reason in FrameReason if reason is not FrameReason.IDLE), "counters", "calls_saved_by"
        ),
        ("reason",),
    ),
    _counter(
        "facepay_api_sent_bytes_total",
        "Bytes of encoded faces sent to the compare API.",
        _number_at("counters.bytes_sent"),
    ),
    _gauge("facepay_mqtt_connected", "1 while the broker is connected.", _number_at("mqtt.connected")),
    _counter(
        "facepay_mqtt_inbound_dropped_total",
        "Messages of tills dropped by a limit, and rejected acks and cancels without an answer.",
        _number_at("till.inbound_dropped"),
    ),
    _gauge(
        "facepay_outbox_results",
        "Results that no till has acknowledged yet.",
        _number_at("mqtt.outbox_depth"),
    ),
    _counter(
        "facepay_outbox_expired_total",
        "Results that expired before a till acknowledged them.",
        _number_at("till.expired_unacknowledged"),
    ),
    _counter(
        "facepay_outbox_withheld_total", "Matches that were too late to be sent.", _number_at("till.withheld")
    ),
    _gauge(
        "facepay_camera_frames_per_second",
        "Rate of the camera over its last frames; 0 without fresh frames.",
        _number_at("camera.fps"),
    ),
    _gauge(
        "facepay_camera_frame_age_seconds",
        "Age of the newest frame; absent before the first one.",
        _number_at("camera.frame_age_ms", scale=1e-3),
    ),
    _gauge(
        "facepay_camera_mean_luma",
        "Brightness of the newest frame, 0 to 255; absent before the first one.",
        _number_at("camera.mean_luma"),
    ),
    _gauge("process_resident_memory_bytes", "Memory in use (RSS).", _number_at("process.rss_bytes")),
    _counter("process_cpu_seconds_total", "Processor time, user and system.", _number_at("process.cpu_s")),
    _gauge("process_open_fds", "Open file descriptors.", _number_at("process.open_files")),
    _gauge("process_max_fds", "Limit of open file descriptors.", _number_at("process.max_files")),
    _gauge("process_threads", "Threads of the process.", _number_at("process.threads")),
)


def render(document: Tree) -> bytes:
    """Prometheus text of a status document of ``control.status``: about 20 kB, independent of events."""
    return exposition(METRICS, document)
