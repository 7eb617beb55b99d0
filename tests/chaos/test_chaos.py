"""Kills and disturbances: no request is lost or paid twice, and no repeated result has other bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.disturbances import Disturbance
from tests.chaos.run import KILL_POINTS, LONG_RUN, Plan, run


async def check_run(folder: Path, plan: Plan) -> None:
    run_log, findings = await run(folder, plan)
    table = findings.table(run_log)
    assert findings.clean, table
    assert findings.requests >= plan.requests, table
    assert {point: run_log.kills[point] for point in KILL_POINTS} == dict.fromkeys(
        KILL_POINTS, plan.kills_each
    ), table
    assert findings.ends["result"] > 0 and findings.calls > 0, table
    assert run_log.disturbances.total() > 0, table
    if plan.disk_full and os.geteuid() == 0:
        assert run_log.disk == "filled", table


async def test_one_kill_at_each_point_loses_nothing(tmp_path: Path) -> None:
    await check_run(tmp_path, Plan(20, 1, dict.fromkeys(Disturbance, 1), disk_full=False, flood_s=1))


@pytest.mark.long
async def test_the_long_run_loses_nothing(tmp_path: Path) -> None:
    """The run of ``make chaos``: 60 kills of the agent, all disturbances of ``LONG_RUN``, and a full disk."""
    await check_run(tmp_path, Plan(600, 10, LONG_RUN, disk_full=True))
