"""Pull the plug wherever it hurts: nothing is lost, paid for twice, or comes back different."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.blows import Blow
from tests.chaos.run import LONG, POINTS, Plan, run


async def survive(folder: Path, plan: Plan) -> None:
    toll, findings = await run(folder, plan)
    table = findings.table(toll)
    assert findings.clean, table
    assert findings.requests >= plan.requests, table
    assert {point: toll.kills[point] for point in POINTS} == dict.fromkeys(POINTS, plan.kills_each), table
    assert findings.ends["result"] > 0 and findings.calls > 0, table
    assert toll.blows.total() > 0, table
    if plan.disk_full and os.geteuid() == 0:
        assert toll.disk == "filled", table


async def test_one_kill_at_each_point_loses_nothing(tmp_path: Path) -> None:
    await survive(tmp_path, Plan(20, 1, dict.fromkeys(Blow, 1), disk_full=False))


@pytest.mark.long
async def test_the_long_run_loses_nothing(tmp_path: Path) -> None:
    """What ``make chaos`` prints: 60 kills of the agent, all blows of ``LONG``, and a full disk."""
    await survive(tmp_path, Plan(600, 10, LONG, disk_full=True))
