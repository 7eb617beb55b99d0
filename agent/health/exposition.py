"""Prometheus text format 0.0.4 from declared metrics. Pure.

No library: the format takes a dozen lines. The tests parse the output with prometheus_client and promtool.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from agent.log import printable

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# label values and the number; for a histogram the snapshot of ``counters.Histogram``
Sample = tuple[tuple[str, ...], Any]
_Source = TypeVar("_Source")


@dataclass(frozen=True, slots=True)
class Metric(Generic[_Source]):
    """``read`` returns the samples of a source; an unknown number gives no sample."""

    kind: Literal["gauge", "counter", "histogram"]
    name: str
    help: str
    read: Callable[[_Source], Iterable[Sample]]
    labels: tuple[str, ...] = ()


def exposition(metrics: Iterable[Metric[_Source]], source: _Source) -> bytes:
    """The text (UTF-8) of all metrics that have a sample. Media type: ``MEDIA_TYPE``."""
    lines = list[str]()
    for metric in metrics:
        if samples := sample_lines(metric, source):
            lines += [*head_lines(metric), *samples]
    return "\n".join([*lines, ""]).encode()


def head_lines(metric: Metric[Any]) -> list[str]:
    """The comments before the samples of a metric."""
    return [f"# HELP {metric.name} {_escape(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]


def sample_lines(
    metric: Metric[_Source], source: _Source, common: Mapping[str, str] | None = None
) -> list[str]:
    """The samples of a metric, one line each. ``common``: labels before those of the metric."""
    lines = list[str]()
    for values, number in metric.read(source):
        lines += _metric_lines(
            metric, {**(common or {}), **dict(zip(metric.labels, values, strict=True))}, number
        )
    return lines


def _metric_lines(metric: Metric[Any], labels: dict[str, str], value: Any) -> list[str]:
    if metric.kind != "histogram":
        return [_sample_line(metric.name, labels, value)]
    buckets = [(repr(int(bound) / 1e3), count) for bound, count in value["le_ms"].items()]
    buckets.append(("+Inf", value["count"]))
    return [
        *(_sample_line(f"{metric.name}_bucket", labels | {"le": bound}, count) for bound, count in buckets),
        _sample_line(f"{metric.name}_sum", labels, value["sum_ms"] / 1e3),
        _sample_line(f"{metric.name}_count", labels, value["count"]),
    ]


def _sample_line(name: str, labels: Mapping[str, str], number: float) -> str:
    pairs = ",".join(f'{key}="{_escape(value, quoted=True)}"' for key, value in labels.items())
    value = int(number) if isinstance(number, bool) else number
    return f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}"


def _escape(text: str, *, quoted: bool = False) -> str:
    text = "\n".join(printable(line) for line in text.split("\n"))  # the text may be printed to a terminal
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
