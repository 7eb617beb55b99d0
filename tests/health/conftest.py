"""The stage fixture of the condition scenarios."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.health.stage import Stage, make_stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = make_stage(tmp_path)
    made.broker.start()
    await made.service.start()
    try:
        yield made
    finally:
        await made.stop()
        made.broker.stop()
        await made.service.stop()
