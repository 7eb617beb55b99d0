"""The rows of a fleet, and the numbers of the monitor itself, as Prometheus text. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from agent.fleet.fleet_metrics import HEALTH_AGE, TERMINAL_METRICS
from agent.fleet.fleet_model import LeftOut, TerminalRow
from agent.health.exposition import Metric, Sample, exposition, head_lines, sample_lines

_gauge, _counter = partial(Metric, "gauge"), partial(Metric, "counter")


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """The numbers of the monitor itself. ``process``: of ``health.process.process_facts``."""

    connected: bool
    terminals: int
    terminals_max: int
    messages: int
    left_out: Mapping[LeftOut, int]
    dropped: int
    subscriptions: int
    process: Mapping[str, float]


def _total(read: Callable[[FleetTotals], float]) -> Callable[[FleetTotals], Iterable[Sample]]:
    return lambda totals: [((), read(totals))]


MONITOR_METRICS: tuple[Metric[FleetTotals], ...] = (
    _gauge(
        "facepay_fleet_broker_connected",
        "1 while the broker is connected. At 0 every series of a terminal is old.",
        _total(lambda totals: totals.connected),
    ),
    _gauge("facepay_fleet_terminals", "Terminals with a row.", _total(lambda totals: totals.terminals)),
    _gauge(
        "facepay_fleet_terminals_max",
        "The limit of --terminals-max.",
        _total(lambda totals: totals.terminals_max),
    ),
    _counter("facepay_fleet_messages_total", "Messages received.", _total(lambda totals: totals.messages)),
    _counter(
        "facepay_fleet_messages_left_out_total",
        "Messages that belong to no row, by reason.",
        lambda totals: [((each.value,), totals.left_out.get(each, 0)) for each in LeftOut],
        ("reason",),
    ),
    _counter(
        "facepay_fleet_messages_dropped_total",
        "Messages without a free place in the queue.",
        _total(lambda totals: totals.dropped),
    ),
    _counter(
        "facepay_fleet_subscriptions_total",
        "Subscriptions: 1, and 1 for each reconnect.",
        _total(lambda totals: totals.subscriptions),
    ),
    _gauge(
        "process_resident_memory_bytes",
        "Memory in use (RSS).",
        _total(lambda totals: totals.process.get("rss_bytes", math.nan)),
    ),
    _counter(
        "process_cpu_seconds_total",
        "Processor time, user and system.",
        _total(lambda totals: totals.process["cpu_s"]),
    ),
    _gauge("process_open_fds", "Open file descriptors.", _total(lambda totals: totals.process["open_files"])),
)


class FleetExposition:
    """Renders the rows; keeps the lines of each unchanged row, because most rows change once a minute."""

    def __init__(self) -> None:
        self._blocks = dict[tuple[str, str], tuple[TerminalRow, tuple[str, ...]]]()

    def render(self, rows: Iterable[TerminalRow], totals: FleetTotals, now_s: float) -> bytes:
        """Prometheus text. ``now_s``: monotonic time of the rows."""
        blocks, ages = dict[tuple[str, str], tuple[TerminalRow, tuple[str, ...]]](), list[str]()
        for row in rows:
            key = row.site, row.terminal
            known = self._blocks.get(key)
            blocks[key] = known if known is not None and known[0] is row else (row, _blocks_of(row))
            ages += sample_lines(HEALTH_AGE, (row, now_s), _labels(row))
        self._blocks = blocks
        lines = list[str]()
        for number, metric in enumerate(TERMINAL_METRICS):
            lines += head_lines(metric)
            lines += [block[number] for _, block in blocks.values() if block[number]]
        text = "\n".join([*lines, *head_lines(HEALTH_AGE), *ages, ""])
        return text.encode() + exposition(MONITOR_METRICS, totals)


def _blocks_of(row: TerminalRow) -> tuple[str, ...]:
    """The lines of a row, one text per metric of ``TERMINAL_METRICS``."""
    return tuple("\n".join(sample_lines(metric, row, _labels(row))) for metric in TERMINAL_METRICS)


def _labels(row: TerminalRow) -> dict[str, str]:
    return {"site": row.site, "terminal": row.terminal}
