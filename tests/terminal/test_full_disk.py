"""A full disk is an error of the terminal, although one page can still be written."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.health import board
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.root import background_jobs

BLOCK_BYTES = 4_096


class OnePageFits:
    """An outbox whose small test write always succeeds."""

    slow_writes = 0

    async def check_writable(self) -> None:
        return


async def test_full_disk_is_an_error_until_it_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_blocks = [0]

    def statvfs(_path: Path) -> os.statvfs_result:
        return os.statvfs_result((BLOCK_BYTES, BLOCK_BYTES, 1_000, 0, free_blocks[0], 0, 0, 0, 0, 255))

    monkeypatch.setattr(board, "os", SimpleNamespace(**vars(os) | {"statvfs": statvfs}))
    monkeypatch.setattr(background_jobs, "STORAGE_EVERY_S", 0.0)
    conditions, changed = ConditionTracker(lambda: 0), asyncio.Event()
    conditions._on_change = changed.set
    config = SimpleNamespace(storage=SimpleNamespace(directory=tmp_path))
    handle = SimpleNamespace(
        terminal=SimpleNamespace(conditions=conditions),
        reload=SimpleNamespace(config=config),
        outbox=OnePageFits(),
    )
    job = asyncio.create_task(background_jobs.watch_storage(cast("Any", handle)))
    try:
        for free_blocks[0], expected in ((0, (STORAGE_UNAVAILABLE,)), (100, ()), (1, (STORAGE_UNAVAILABLE,))):
            await asyncio.wait_for(changed.wait(), 60)
            assert conditions.active == expected
            changed.clear()
    finally:
        job.cancel()
