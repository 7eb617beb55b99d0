"""The goals of ``make bench``: one declaration for each goal, and the verdict of a measurement.

A goal is a ratio of two figures of one run, so the goal holds on a slow and on a fast machine: the measured
figure against a named calibration, which was measured in the same section. A goal without a calibration is a
count that does not depend on the speed of the machine.

A figure is not judged when it was not measured, or when the figure depends on time and other programs used
the machine during the section.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The result of one goal."""

    REACHED = "yes"
    MISSED = "NO"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value and the value of its calibration; None for a count."""

    value: float
    calibration: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for a ratio (``against`` names the calibration) or for a count (``against`` is empty).

    ``section``: the module of tests/bench that measures the goal. ``unit``: of both figures.
    """

    section: str
    what: str
    limit: float
    against: str = ""
    unit: str = ""
    at_least: bool = False

    @property
    def bound(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"

    def judge(self, figure: Figure | None) -> tuple[float, Verdict]:
        """(ratio or count, verdict). NaN, no calibration and a calibration of 0 are not measured."""
        if figure is None:
            return math.nan, Verdict.NOT_MEASURED
        value = figure.value
        if self.against:
            value = value / figure.calibration if figure.calibration else math.nan
        if math.isnan(value):
            return math.nan, Verdict.NOT_MEASURED
        reached = value >= self.limit if self.at_least else value <= self.limit
        return value, Verdict.REACHED if reached else Verdict.MISSED


_NET = "bare YuNet on the same frame"
_IMPORTS = "importing the same libraries bare"
_NAIVE = "the naive implementation"
_DLIB = "the dlib pipeline"
_SOURCE = "the capture source alone"

GOALS: Mapping[str, Goal] = {
    "whole_look": Goal("detector", "analysis of a whole frame", 1.25, _NET, "ms"),
    "followed_look": Goal(
        "detector", "analysis of a followed face", 0.30, "the analysis of a whole frame", "ms"
    ),
    "portrait_look": Goal(
        "detector", "analysis of a portrait frame", 1.1, "the analysis of a landscape frame", "ms"
    ),
    "presence_gate": Goal("detector", "presence gate, without a person", 0.01, _NET, "ms"),
    "recall": Goal("seeing", "recall of usable faces, all variants (%)", 97, at_least=True),
    "shots_of_objects": Goal("seeing", "shots of objects", 0),
    "useless_calls_of_visits": Goal("unseen", "useless calls, visits not used for tuning", 0),
    "missed_visits_of_people": Goal("unseen", "missed visits, visits not used for tuning", 0),
    "idle": Goal("idle", "idle terminal, 10 fps", 2.5, _SOURCE, "% of a core"),
    "ready": Goal("memory", "process start to READY, p50", 1.25, _IMPORTS, "ms"),
    "pss": Goal("memory", "PSS of the serving agent", 1.5, _IMPORTS, "MiB"),
    "both_new": Goal("service_ratios", "compare service, both pictures new", 0.143, _DLIB, "ms"),
    "reference_cached": Goal("service_ratios", "compare service, reference cached", 0.083, _DLIB, "ms"),
    "service_overhead": Goal(
        "service_ratios", "API call, both pictures new", 1.05, "the recognition alone", "ms"
    ),
    "two_workers": Goal(
        "service_ratios",
        "two workers over one, API calls per second",
        0.9,
        "two services over one",
        "times",
        at_least=True,
    ),
    "overload_16": Goal(
        "overload",
        "goodput of the service, 16 clients",
        0.9,
        "one client",
        "answers per CPU second",
        at_least=True,
    ),
    "overload_40": Goal(
        "overload",
        "goodput of the service, 40 clients",
        0.8,
        "one client",
        "answers per CPU second",
        at_least=True,
    ),
    "overload_16_p99": Goal("overload", "answers to 16 clients, p99", 2_500, unit="ms"),
    "overload_40_p99": Goal("overload", "answers to 40 clients, p99", 2_500, unit="ms"),
    "warm_call": Goal("compare_client", "warm API call, p50", 4, "the network alone", "ms"),
    "warmed_first_call": Goal(
        "compare_client", "first API call at 30 ms, warmed", 0.4, "the same call, cold", "ms"
    ),
    "delivery": Goal("delivery", "decision -> PUBACK, p99", 2.5, "the disk's fsync, p99", "ms"),
    "written": Goal("delivery", "written per request, claim and result (KiB)", 40),
    "overhead": Goal("latency", "overhead at 30 fps, p99", 0.75, "one frame period", "ms"),
    "guidance": Goal("latency", "cause -> guidance received by the till, p99", 2, "one frame period", "ms"),
    "usable_p50": Goal("latency", "person usable -> result, p50", 2.4, "API time and one frame period", "ms"),
    "usable_p95": Goal("latency", "person usable -> result, p95", 4, "API time and one frame period", "ms"),
    "calls_per_visit": Goal("visits", "API calls per visit", 1),
    "useless_calls": Goal("visits", "useless API calls", 0),
    "missed_visits": Goal("visits", "missed visits", 0),
    "cpu_of_naive": Goal("visits", "CPU of a scene", 0.067, _NAIVE, "s"),
    "bytes_of_naive": Goal("visits", "bytes to the API in a scene", 0.02, _NAIVE, "bytes"),
    "help": Goal("tools", "facepay --help, p50", 1.5, _IMPORTS, "ms"),
    "status": Goal("tools", "facepay status, p50", 1.5, _IMPORTS, "ms"),
    "doctor": Goal("tools", "facepay doctor, p50", 2.5, _IMPORTS, "ms"),
    "scrape": Goal("tools", "GET /metrics, p50", 4, "a bare uvicorn echo", "ms"),
    "preview": Goal(
        "preview", "live preview per picture, worst scene", 3, "the analysis of a followed face", "ms"
    ),
    "preview_rate": Goal(
        "preview",
        "live preview, worst scene",
        0.95,
        _SOURCE,
        "pictures per second",
        at_least=True,
    ),
    "display": Goal(
        "display",
        "payer's screen per picture",
        4,
        "the analysis of a followed face",
        "ms",
    ),
    "display_hint": Goal("display", "cause -> hint on the screen, p99", 2, "one frame period", "ms"),
    "package": Goal("package", "size of the Debian package (MB)", 70),
}
_SPEED_UNITS = ("ms", "times", "% of a core", "answers per CPU second")


def is_timed(goal: Goal) -> bool:
    """Whether other programs on the machine change the figure."""
    return goal.unit in _SPEED_UNITS


def verdicts(
    sections: Iterable[tuple[str, Mapping[str, Figure], str]], goals: Mapping[str, Goal] = GOALS
) -> list[dict[str, Any]]:
    """One row for each goal of the given sections, in the order of the registry.

    Args:
        sections: of one run: name of the module, figures by the key of the goal, and the reason why figures
            of time are not judged (empty: they are judged).
    """
    measured = {module: (figures, disturbed) for module, figures, disturbed in sections}
    rows = list[dict[str, Any]]()
    for key, goal in goals.items():
        if goal.section not in measured:
            continue
        figures, disturbed = measured[goal.section]
        figure = figures.get(key)
        ratio, verdict = goal.judge(figure)
        if disturbed and is_timed(goal):
            verdict = Verdict.NOT_MEASURED
        rows.append(_row(goal, figure, ratio, verdict))
    return rows


def _row(goal: Goal, figure: Figure | None, ratio: float, verdict: Verdict) -> dict[str, Any]:
    def shown(value: float | None) -> str:
        return "" if value is None or math.isnan(value) else f"{value:.4g} {goal.unit}".strip()

    return {
        "goal": goal.what,
        "measured": "" if figure is None else shown(figure.value),
        "against": goal.against,
        "calibration": "" if figure is None else shown(figure.calibration),
        "ratio": "" if not goal.against or math.isnan(ratio) else f"{ratio:.{2 if ratio >= 0.1 else 4}f}",
        "limit": goal.bound,
        "reached": str(verdict),
    }
