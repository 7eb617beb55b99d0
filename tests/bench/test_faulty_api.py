"""The compare client with a faulty API: every healthy request gets its own answer, and nothing leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.faulty_api import play
from tests.bench.report import table


async def judge(folder: Path, count: int, seed: int) -> None:
    section = await play(folder, count, seed)
    assert section.rows[-1]["after"] >= count, table(section)
    assert {row["reached"] for row in section.goals} == {"yes"}, (table(section), section.goals)


async def test_eighty_requests_with_faults_leave_healthy_requests_answered(tmp_path: Path) -> None:
    await judge(tmp_path, 80, seed=3)


@pytest.mark.long
async def test_two_thousand_requests_with_faults_leave_healthy_requests_answered(
    tmp_path: Path,
) -> None:
    await judge(tmp_path, 2_000, seed=5)
