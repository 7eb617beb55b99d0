"""The benchmark sections run with the expected structure and counts; speed is never asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.camera.simulated.scene import load_scene
from tests.bench import photos, seeing
from tests.bench.__main__ import SECTIONS, measure
from tests.bench.page import markdown
from tests.bench.report import Section, judged, machine, percentile, read, spread, table, write
from tests.bench.scene import EMPTY_S, LENGTH_S, SCENE, VISITS, judge_calls, visits_within


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    "name",
    [
        *("idle", "service", "delivery", "latency"),
        pytest.param("memory", marks=pytest.mark.long),  # starts the agent and the peers: 5 s of CPU
        pytest.param("tools", marks=pytest.mark.long),  # starts each tool several times: 9 s of CPU
    ],
)
def test_a_section_runs_quickly_and_fills_its_table(name: str) -> None:
    section = measure(name, quick=True)
    assert section.rows and all(isinstance(row, dict) for row in section.rows)
    assert section.name in table(section)
    assert name in SECTIONS


def test_the_face_analyzer_takes_no_shot_of_empty_images() -> None:
    rows = {row["what"]: row for row in measure("detector", quick=True).rows}
    assert rows["shots of noise, stripes and an empty shop"]["found"] == 0
    assert rows["analysis of a followed face"]["n"] >= 20, "at least two of four frames are followed"


def test_recall_without_a_package_index_uses_the_shipped_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes name the missing packages."""
    monkeypatch.setattr(photos, "download", lambda _package: (None, "no index"))
    section = seeing.run(quick=True)
    own = section.rows[1]
    assert own["detector"].endswith("(this project)")
    assert own["as it is"] == section.rows[0]["as it is"] == 4
    assert any("not available here" in note and "no index" in note for note in section.notes)
    assert any("ONLY THE SHIPPED PHOTOGRAPHS" in note for note in section.notes)


def test_a_face_is_found_only_at_its_position() -> None:
    face = (100, 100, 80, 100)
    assert seeing.is_found([(105, 95, 90, 110)], face)
    assert not seeing.is_found([(300, 100, 80, 100)], face)
    assert not seeing.is_found([(100, 100, 300, 400)], face)
    assert not seeing.is_found([], face)


def test_random_visits_cost_one_call_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "download", lambda _package: (None, "no index"))
    section = measure("unseen", quick=True)
    assert {goal["reached"] for goal in judged([section])} == {"yes"}
    assert section.rows[0]["visits"] > 0


@pytest.mark.long  # each frame of a visit in two detectors, and a call for each face: 18 s of CPU
@pytest.mark.mosquitto
def test_one_visit_costs_the_agent_one_call_and_the_naive_implementation_many() -> None:
    pytest.importorskip("dlib", reason="the naive detector is in the bench extra (make bench)")
    agent, naive, _ = measure("visits", quick=True).rows
    assert (agent["api calls"], agent["useless"], agent["missed visits"], agent["connections"]) == (
        1,
        0,
        0,
        1,
    )
    assert naive["missed visits"] == 0
    assert naive["useless"] > 10
    assert naive["connections"] == naive["api calls"]


def test_calls_are_judged_by_visit() -> None:
    first, second, *_ = VISITS
    assert judge_calls([first.from_s + 1, second.to_s], [first, second]) == (0, 0)
    assert judge_calls([first.from_s + 1, first.from_s + 2, first.to_s + 1], [first, second]) == (2, 1)
    assert visits_within(first.from_s, 20) == (first,)


def test_the_visits_are_those_of_the_scene() -> None:
    scene = load_scene(str(SCENE))
    intervals = {(person.path[0].at_ms, person.path[-1].at_ms) for person in scene.people}
    assert {(1e3 * visit.from_s, 1e3 * visit.to_s) for visit in VISITS} < intervals
    assert len(intervals) == len(VISITS) + 2, "two more people pass by"
    assert scene.length_ms == 1e3 * LENGTH_S
    assert min(intervals)[0] >= 1e3 * EMPTY_S


def test_percentiles_are_nearest_rank() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([5.0], 0.99) == 5.0
    assert spread([3, 1, 2])["p50"] == 2
    assert "a  b" in table(Section("t", [{"a": 1, "b": "x"}]))


def test_a_goal_is_compared_with_its_bound() -> None:
    section = Section("t")
    section.goal("slow", 30.0, at_most=25)
    section.goal("large", 20.0, at_least=15)
    section.goal("nothing measured", float("nan"), at_most=1)
    assert [goal["reached"] for goal in section.goals] == ["NO", "yes", "NO"]


def test_a_run_is_read_as_written_and_contains_no_path(tmp_path: Path) -> None:
    section = Section("t", [{"a": 1, "b": "x|y"}], ["a note"], module="detector")
    section.measure("whole_look", 5.0, 4.0)
    write([section], tmp_path / "run.json")
    assert read(tmp_path / "run.json") == (machine(), [section])
    assert str(Path.cwd()) not in (tmp_path / "run.json").read_text()
    assert markdown(section.rows).splitlines()[-1] == "| 1 | x\\|y |"
