"""An inline photo is in memory during its verification only, not as long as the counters."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
from dataclasses import replace

import pytest

from agent.core.model import Reference
from agent.core.ports import RequestReceived
from agent.core.reasons import FrameReason
from agent.health.counters import RECENT
from tests.fakes import request
from tests.terminal.test_terminal import TerminalSetup, serving

PHOTOS = 5
SETTLE_S = 20


def photo(number: int) -> bytes:
    return bytes([number + 1]) * 80_000


def held(photos: list[bytes]) -> list[int]:
    """The number of references to each photo, without those of this module."""
    gc.collect()
    return [sys.getrefcount(each) - 3 for each in photos]  # the list, the loop, the call


def test_measure_detects_a_photo_in_memory() -> None:
    photos = [photo(0)]
    assert held(photos) == [0]
    kept = [photos[0]]
    assert held(photos) == [1]
    del kept


@pytest.mark.parametrize("frame_reason", [FrameReason.SHOT, FrameReason.NO_FACE])
async def test_photo_is_released_after_its_result(frame_reason: FrameReason) -> None:
    setup, photos = TerminalSetup(), [photo(number) for number in range(PHOTOS)]
    setup.analyzer.stage = frame_reason
    async with serving(setup):
        for number in range(PHOTOS):
            enrolled = Reference(image=photos[number], sha256=hashlib.sha256(photos[number]).hexdigest())
            incoming = request(f"r-{number}", budget_ms=400)
            await setup.till.inbox.put(RequestReceived(replace(incoming, reference=enrolled)))
            del enrolled, incoming
            await setup.verdict(number + 1)
        setup.till.events.clear()  # the fakes store the events that real ports only publish
        setup.claim_store.settled.clear()
        async with asyncio.timeout(SETTLE_S):
            while any(held(photos)):  # noqa: ASYNC110 - freed memory has no event
                await asyncio.sleep(0.02)
    assert PHOTOS <= RECENT and len(setup.terminal.counters.recent) == PHOTOS
