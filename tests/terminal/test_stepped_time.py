"""The time of the tests in this folder."""

from __future__ import annotations

import asyncio
import time

from tests.fakes import RealClock


async def test_waits_end_in_their_order_and_the_clock_shows_their_time() -> None:
    ended, began_ms = list[int](), RealClock().now_ms()

    async def wait(hours: int) -> None:
        await asyncio.sleep(3_600 * hours)
        ended.append(hours)

    await asyncio.gather(*(wait(hours) for hours in (3, 1, 2)))
    assert ended == [1, 2, 3]
    assert RealClock().now_ms() - began_ms == 3 * 3_600_000


async def test_time_stands_still_during_a_call_of_an_executor() -> None:
    began_ms = RealClock().now_ms()
    async with asyncio.timeout(0.001):
        await asyncio.to_thread(time.sleep, 0.05)
    assert RealClock().now_ms() == began_ms
