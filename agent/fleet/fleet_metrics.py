"""The metrics of one terminal of a fleet. Declared data; docs/reference/metrics.md is generated from it.

The number of time series is bounded. Labels are site and terminal, which are ids of at most ``terminals_max``
terminals, and codes of closed lists. A text of a terminal is never a label: a version is a number, and an
unknown code is counted. One terminal has at most ``SERIES_MAX`` series.
"""

from collections.abc import Callable, Iterable
from functools import partial

from agent.core.reasons import Decision
from agent.fleet.fleet_model import TerminalRow
from agent.fleet.terminal_reports import CONDITIONS_MAX, NUMBERS, OUTCOMES, StateReport, version_number
from agent.health.conditions import CONDITIONS
from agent.health.exposition import Metric, Sample

Read = Callable[[TerminalRow], Iterable[Sample]]

_gauge, _counter = partial(Metric, "gauge"), partial(Metric, "counter")
_MEDIANS = ("api", "total")
SERIES_MAX = len(NUMBERS) + len(OUTCOMES) + len(Decision) + CONDITIONS_MAX + 10


def _of_state(read: Callable[[StateReport], Iterable[Sample]]) -> Read:
    """Reader of the newest state; no sample without a usable state."""
    return lambda row: [] if row.state is None else read(row.state)


def _version(state: StateReport) -> Iterable[Sample]:
    number = version_number(state.version)
    return [] if number is None else [((), number)]


def _number(*path: str, scale: float = 1) -> Read:
    """Reader of one number of the newest health."""
    assert path in NUMBERS, path

    def read(row: TerminalRow) -> Iterable[Sample]:
        value = None if row.health is None else row.health.numbers.get(path)
        return [] if value is None else [((), value * scale)]

    return read


def _results(row: TerminalRow) -> Iterable[Sample]:
    if row.health is None:
        return []
    counts = dict.fromkeys((decision.value for decision in Decision), 0.0)
    for name, number in row.health.results.items():
        counts[name.partition("/")[0]] += number
    return [((decision,), number) for decision, number in counts.items()]


def _reasons(row: TerminalRow) -> Iterable[Sample]:
    results = {} if row.health is None else row.health.results
    pairs = ((name.split("/"), number) for name, number in results.items())
    return [((reason,), number) for (decision, reason), number in pairs if decision == Decision.UNDECIDED]


def _refusals(row: TerminalRow) -> Iterable[Sample]:
    return [] if row.health is None else [((), row.health.refusals)]


def _medians(row: TerminalRow) -> Iterable[Sample]:
    numbers = {} if row.health is None else row.health.numbers
    medians = ((phase, numbers.get(("timings_p50_ms", phase))) for phase in _MEDIANS)
    return [((phase,), value / 1e3) for phase, value in medians if value is not None]


TERMINAL_LABELS = ("site", "terminal")
TERMINAL_METRICS: tuple[Metric[TerminalRow], ...] = (
    _gauge(
        "facepay_fleet_terminal_need",
        "Always 1; the label is the most urgent reason why the terminal needs a person, or `nothing`.",
        lambda row: [((row.need.value,), 1)],
        ("need",),
    ),
    _gauge(
        "facepay_fleet_terminal_status",
        "Always 1; the label is the status of the retained state. Absent: no usable state.",
        _of_state(lambda state: [((state.status.value,), 1)]),
        ("status",),
    ),
    _gauge(
        "facepay_fleet_terminal_condition",
        "1 while this condition is in the state, otherwise absent.",
        _of_state(lambda state: [((code, CONDITIONS[code].severity.value), 1) for code in state.conditions]),
        ("code", "severity"),
    ),
    _gauge(
        "facepay_fleet_terminal_conditions_left_out",
        "Codes in the state that are unknown, repeated, or more than 16.",
        _of_state(lambda state: [((), state.conditions_left_out)]),
    ),
    _gauge(
        "facepay_fleet_terminal_problem",
        "1 while the newest state or health cannot be used, by reason, otherwise absent.",
        lambda row: [((problem.value,), 1) for problem in row.problems],
        ("problem",),
    ),
    _gauge(
        "facepay_fleet_terminal_profile",
        "Always 1; the label is the profile of the config.",
        _of_state(lambda state: [((state.profile,), 1)] if state.profile else []),
        ("profile",),
    ),
    _gauge("facepay_fleet_terminal_version", "Version as a number: 1.2.3 is 1002003.", _of_state(_version)),
    _gauge(
        "facepay_fleet_terminal_accepted_risks",
        "Number of accepted risks.",
        _of_state(lambda state: [((), state.accepted_risks)] if state.version else []),
    ),
    _gauge("facepay_fleet_terminal_uptime_seconds", "Since the agent started.", _number("uptime_s")),
    _counter(
        "facepay_fleet_terminal_results_total",
        "Verifications that ended, by decision.",
        _results,
        ("decision",),
    ),
    _counter(
        "facepay_fleet_terminal_undecided_total",
        "Undecided verifications by reason. A reason that never occurred is absent.",
        _reasons,
        ("reason",),
    ),
    _counter("facepay_fleet_terminal_refusals_total", "Refused requests.", _refusals),
    _counter("facepay_fleet_terminal_api_calls_total", "Paid calls of the compare API.", _number("calls")),
    _counter(
        "facepay_fleet_terminal_api_sent_bytes_total",
        "Bytes of encoded faces sent to the compare API.",
        _number("bytes_sent"),
    ),
    _gauge(
        "facepay_fleet_terminal_median_seconds",
        "Median of the last 50 verifications, by phase.",
        _medians,
        ("phase",),
    ),
    _gauge(
        "facepay_fleet_terminal_outbox_results",
        "Results that no till has acknowledged yet.",
        _number("till", "unacknowledged"),
    ),
    _counter(
        "facepay_fleet_terminal_outbox_expired_total",
        "Results that expired before a till acknowledged them.",
        _number("till", "expired_unacknowledged"),
    ),
    _counter(
        "facepay_fleet_terminal_outbox_withheld_total",
        "Matches that were too late to be sent.",
        _number("till", "withheld"),
    ),
    _counter(
        "facepay_fleet_terminal_inbound_dropped_total",
        "Messages of tills dropped by a limit, and rejected acks and cancels without an answer.",
        _number("till", "inbound_dropped"),
    ),
    _gauge(
        "facepay_fleet_terminal_camera_frames_per_second", "Rate of the camera.", _number("camera", "fps")
    ),
    _gauge(
        "facepay_fleet_terminal_camera_frame_age_seconds",
        "Age of the newest frame.",
        _number("camera", "frame_age_ms", scale=1e-3),
    ),
    _gauge(
        "facepay_fleet_terminal_camera_mean_luma",
        "Brightness of the newest frame, 0 to 255.",
        _number("camera", "mean_luma"),
    ),
    _gauge(
        "facepay_fleet_terminal_memory_bytes",
        "Memory in use (RSS) by the agent.",
        _number("process", "rss_bytes"),
    ),
    _counter(
        "facepay_fleet_terminal_cpu_seconds_total",
        "Processor time of the agent, user and system.",
        _number("process", "cpu_s"),
    ),
)
# changes with time: not stored between two expositions
HEALTH_AGE: Metric[tuple[TerminalRow, float]] = Metric(
    "gauge",
    "facepay_fleet_terminal_health_age_seconds",
    "Since the newest health arrived; absent before the first one.",
    lambda found: [] if found[0].health_s is None else [((), round(found[1] - found[0].health_s, 1))],
)
