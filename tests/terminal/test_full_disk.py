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


async def test_error_of_the_storage_stays_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_blocks, calls = [0], [0]

    def statvfs(_path: Path) -> os.statvfs_result:
        calls[0] += 1
        return os.statvfs_result((BLOCK_BYTES, BLOCK_BYTES, 1_000, 0, free_blocks[0], 0, 0, 0, 0, 255))

    monkeypatch.setattr(board, "os", SimpleNamespace(**vars(os) | {"statvfs": statvfs}))
    monkeypatch.setattr(background_jobs, "STORAGE_EVERY_S", 0.0)
    conditions, changed = ConditionTracker(lambda: 0), asyncio.Event()
    conditions.raise_(STORAGE_UNAVAILABLE)  # by a claim
    conditions._on_change = changed.set
    config = SimpleNamespace(storage=SimpleNamespace(directory=tmp_path))
    handle = SimpleNamespace(
        terminal=SimpleNamespace(conditions=conditions),
        reload=SimpleNamespace(config=config),
        outbox=OnePageFits(),
    )
    job = asyncio.create_task(background_jobs.watch_storage(cast("Any", handle)))
    try:
        while calls[0] < 3:  # noqa: ASYNC110 - counted in a thread
            await asyncio.sleep(0)
        assert conditions.active == (STORAGE_UNAVAILABLE,)
        free_blocks[0] = 100
        await asyncio.wait_for(changed.wait(), 60)
        assert not conditions.active
    finally:
        job.cancel()


def test_file_system_without_a_limit_is_not_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def statvfs(_path: Path) -> os.statvfs_result:
        return os.statvfs_result((BLOCK_BYTES, BLOCK_BYTES, 0, 0, 0, 0, 0, 0, 0, 255))

    monkeypatch.setattr(board, "os", SimpleNamespace(**vars(os) | {"statvfs": statvfs}))
    assert not board.is_full(tmp_path)
