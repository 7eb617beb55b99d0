"""The benchmark still runs and says what it should: structure, not speed."""

from __future__ import annotations

import pytest

from tests.bench.__main__ import SECTIONS, measure
from tests.bench.report import Section, percentile, spread, table


@pytest.mark.parametrize("name", ["detector", "idle", "latency"])
def test_a_section_runs_quickly_and_fills_its_table(name: str) -> None:
    section = measure(name, quick=True)
    assert section.rows and all(isinstance(row, dict) for row in section.rows)
    assert section.name in table(section)
    assert name in SECTIONS


def test_nobody_is_found_where_nobody_is() -> None:
    rows = {row["what"]: row for row in measure("detector", quick=True).rows}
    assert rows["shots taken where nobody is"]["found"] == 0
    assert rows["photos, as it is"]["found"] == rows["photos, as it is"]["n"] == 4


def test_percentiles_are_nearest_rank() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([5.0], 0.99) == 5.0
    assert spread([3, 1, 2])["p50"] == 2
    assert "a  b" in table(Section("t", [{"a": 1, "b": "x"}]))
