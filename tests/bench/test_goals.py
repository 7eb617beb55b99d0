"""Goals with made-up measurements: reached, missed, not measured, disturbed; and the exit code of a run."""

from __future__ import annotations

import math
import os
import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import service_load
from tests.bench.disturbance import Ticks, disturbance
from tests.bench.goals import GOALS, Figure, Goal, Verdict, is_timed, verdicts
from tests.bench.page import REASONS, page, runs
from tests.bench.report import Section, judged, machine_name, write
from tests.bench.share import shareable, write_shared

FOLDER = Path(__file__).parent
MACHINE = {
    "cpu": "Processor 9",
    "cores": 2,
    "memory_gib": 4,
    "system": "Debian",
    "python": "3.11",
    "libraries": {},
}


def test_a_ratio_is_compared_with_its_limit() -> None:
    goal = Goal("detector", "a look", 1.25, "the bare look", "ms")
    assert goal.judge(Figure(5.0, 4.0)) == (1.25, Verdict.REACHED)
    assert goal.judge(Figure(5.1, 4.0))[1] is Verdict.MISSED
    assert goal.judge(Figure(500.0, 400.0))[1] is Verdict.REACHED, "a slow machine has the same ratio"


@pytest.mark.parametrize("figure", [None, Figure(math.nan, 1.0), Figure(1.0, math.nan), Figure(1.0, 0.0)])
def test_a_missing_figure_is_not_measured(figure: Figure | None) -> None:
    value, verdict = Goal("detector", "a look", 1.25, "the bare look").judge(figure)
    assert math.isnan(value)
    assert verdict is Verdict.NOT_MEASURED


def test_a_count_needs_no_calibration_and_a_goal_can_be_a_lower_limit() -> None:
    assert Goal("visits", "calls", 1).judge(Figure(2.0)) == (2.0, Verdict.MISSED)
    least = Goal("seeing", "recall", 97, at_least=True)
    assert [least.judge(Figure(value))[1] for value in (97.0, 96.9)] == [Verdict.REACHED, Verdict.MISSED]


def test_every_goal_of_a_measured_section_has_a_row_and_other_sections_have_none() -> None:
    rows = verdicts([("detector", {"whole_look": Figure(9.0, 4.0)}, "")])
    assert [row["reached"] for row in rows] == ["NO", *["not measured"] * (len(rows) - 1)]
    assert rows[0]["ratio"] == "2.25"
    assert (rows[0]["against"], rows[0]["calibration"]) == ("bare YuNet on the same frame", "4 ms")
    assert len(rows) == sum(goal.section == "detector" for goal in GOALS.values())


def test_a_small_ratio_is_shown_with_the_digits_that_decide() -> None:
    rows = verdicts(
        [("detector", {"presence_gate": Figure(0.034, 3.276), "whole_look": Figure(5.0, 4.0)}, "")]
    )
    shown = {row["goal"]: (row["ratio"], row["reached"]) for row in rows}
    assert shown[GOALS["presence_gate"].what] == ("0.0104", "NO")
    assert shown[GOALS["whole_look"].what] == ("1.25", "yes")


def test_figures_of_time_of_a_disturbed_section_are_not_judged() -> None:
    figures = {"cpu_of_naive": Figure(9.0, 1.0), "useless_calls": Figure(3.0), "delivery": Figure(99.0, 1.0)}
    rows = verdicts([("visits", figures, ""), ("delivery", figures, "other programs used 60%")])
    by_goal = {row["goal"]: row["reached"] for row in rows}
    assert by_goal[GOALS["delivery"].what] == "not measured"
    assert by_goal[GOALS["useless_calls"].what] == "NO"
    assert not is_timed(GOALS["written"])


def test_each_goal_is_declared_once_and_measured_by_its_section() -> None:
    assert len({(goal.section, goal.what) for goal in GOALS.values()}) == len(GOALS)
    for module in {goal.section for goal in GOALS.values()}:
        text = (FOLDER / f"{module}.py").read_text(encoding="utf-8")
        keys = {key for key, goal in GOALS.items() if goal.section == module}
        assert keys <= set(re.findall(r'"(\w+)"', text)), module
    assert set(bench.SECTIONS) >= {goal.section for goal in GOALS.values()}


def test_a_section_stores_only_declared_figures_with_their_calibration() -> None:
    section = Section("t")
    with pytest.raises(KeyError):
        section.measure("no_such_goal", 1.0)
    with pytest.raises(AssertionError):
        section.measure("whole_look", 1.0)
    with pytest.raises(AssertionError):
        section.measure("useless_calls", 1.0, 1.0)


def ticks(at_s: float, used_s: float, own_s: float, stolen_s: float = 0.0) -> Ticks:
    return Ticks(at_s, used_s, stolen_s, own_s, cores=2)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (ticks(10, 10.2, 10), ""),
        (ticks(10, 20, 9), "other programs used 55% of the machine"),
        (ticks(10, 10, 10, stolen_s=2), "the hypervisor took 10% of the machine"),
        (ticks(0.1, 0.2, 0), ""),
        (None, "the kernel does not show the load of other programs"),
    ],
)
def test_a_busy_machine_is_detected(after: Ticks | None, reason: str) -> None:
    assert disturbance(ticks(0, 0, 0), after) == reason


def test_the_counters_of_this_kernel_are_read() -> None:
    now = Ticks.now()
    assert now is not None
    assert now.used_s > 0
    assert now.cores >= 1


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (9.0, 1), (math.nan, 0)])
def test_only_a_missed_goal_ends_the_run_with_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, value: float, code: int
) -> None:
    section = Section("t", [{"a": 1}], module="detector")
    section.measure("whole_look", value, 1.0)
    monkeypatch.setattr(sys, "argv", ["bench", "detector"])
    monkeypatch.setattr(bench, "measure", lambda _name, *, quick: section)
    assert bench.main() == code


def test_a_section_without_its_library_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("tests.bench.idle")

    def fail(*, quick: bool) -> Section:
        raise ModuleNotFoundError("no dlib", name="dlib")

    monkeypatch.setattr(module, "run", fail)
    section = bench.measure("idle", quick=True)
    assert {goal["reached"] for goal in judged([section])} == {"not measured"}
    assert "dlib" in section.notes[0]


def test_the_page_contains_every_machine_and_how_many(tmp_path: Path) -> None:
    section = Section("looks", [{"a": 1}], module="package")
    one, two = (MACHINE, [section]), (MACHINE | {"cpu": "Raspberry Pi 4 Model B"}, [section])
    assert "**One machine was measured.**" in page([one])
    assert "No figure was measured on a Raspberry Pi." in page([one])
    both = page([one, two])
    assert "**2 machines were measured**" in both
    assert "No figure was measured on a Raspberry Pi." not in both
    assert "## Raspberry Pi 4 Model B, 2 cores" in both
    assert "Not measured: size of the Debian package (MB)." in both
    assert machine_name(two[0]) == "raspberry-pi-4-model-b-2-cores"
    write([section], tmp_path / "b.json")
    (tmp_path / "a.json").write_text("{}")
    assert len(runs(tmp_path)) == 1


NAMES = ("shop-12", "/home/operator", "operator")


def test_a_shared_run_has_no_text_of_the_machine(tmp_path: Path) -> None:
    notes = ["three runs", "pip: https://index.example/simple failed", "read by operator", "at 192.0.2.7"]
    section = Section("t", [{"GET /metrics": 1}], [*notes, "ratio a / b"], module="package")
    write_shared([section], tmp_path / "share.json", lambda: NAMES)
    text = (tmp_path / "share.json").read_text()
    assert "three runs" in text and "ratio a / b" in text and "GET /metrics" in text
    assert not any(name in text for name in (*NAMES, "index.example", "192.0.2.7"))


@pytest.mark.parametrize("row", [{"what": "/var/lib/agent"}, {"what": "host shop-12"}, {"fe80::1:2:3:4": 1}])
def test_a_private_text_in_a_row_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="this machine"):
        shareable([replace(Section("t"), rows=[row])], NAMES)


def test_the_page_names_missed_counts_with_the_reason() -> None:
    counts = {"start to READY": 1_300_000, "imports": 1_000_000, "whole look": 12, "bare look": 10}
    text = page([], counts)
    assert (
        "| process start to READY | 1.3 | importing the same libraries bare | 1.0 | 1.30 | <= 1.25 | NO |"
        in text
    )
    assert f"- process start to READY: {REASONS['ready']}" in text
    assert "| 1.20 | <= 1.25 | yes |" in text
    assert "preview" not in text.partition("## Counts of instructions")[2], "not counted, so not in the table"


def test_each_missed_goal_of_the_page_has_its_reason() -> None:
    blocks = re.findall(r"Not reached:\n\n((?:- .*\n)+)", page(runs()))
    missed = [line for block in blocks for line in block.splitlines()]
    assert [line for line in missed if ": " not in line] == []


def test_the_exact_size_of_the_package_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = import_module("tests.bench.package")
    monkeypatch.setattr(package, "DIST", tmp_path)
    for size, verdict in ((70_026_964, "NO"), (70_000_000, "yes")):
        with (tmp_path / "a.deb").open("wb") as file:
            file.truncate(size)
        (row,) = judged([replace(package.run(quick=True), module="package")])
        assert row["reached"] == verdict, row


@pytest.mark.parametrize(
    ("cores", "two_workers_per_s", "reached"),
    [({0}, 36.0, "not measured"), ({0, 1}, 33.0, "yes"), ({0, 1}, 32.0, "NO")],
)
@pytest.mark.parametrize("slower", [1.0, 3.0])
def test_two_workers_are_judged_against_two_services_with_two_cores(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], two_workers_per_s: float, reached: str, slower: float
) -> None:
    """A slower service does not lower its own goal: the verdict depends on ratios alone."""
    per_s = {(1, 1): 20.0, (1, 2): two_workers_per_s, (2, 1): 36.0}

    def load_of(services: int, workers: int, _count: int) -> service_load.Load:
        return service_load.Load(per_s[services, workers] / slower, 48.0 * slower, 2.0)

    monkeypatch.setattr(service_load, "load_of", load_of)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: cores)
    section = Section("t", module="service_ratios")
    service_load.add_two_workers(section, 2)
    (row,) = (row for row in judged([section]) if row["goal"] == GOALS["two_workers"].what)
    assert row["reached"] == reached
    assert any("one core" in note for note in section.notes) == (len(cores) == 1)
    assert len(section.rows) == 1 + len(cores)
