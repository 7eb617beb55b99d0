"""The queue between the MQTT connection and the terminal: one lane per sender, served in turn.

One sender can fill its own lane only, so a request of another till waits for at most one message of each
sender. Both the lanes and all messages together are bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

LANE_MAX = 20  # messages of one sender
LANES_MAX = 64  # senders that wait at the same time


class Inbox(Generic[T]):
    """For the event loop only. ``dropped`` counts values without a free place or a free lane."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[T]] = OrderedDict()
        self._filled = asyncio.Event()
        self.dropped = 0

    def put(self, sender: str, value: T) -> bool:
        """Append ``value``; False: dropped."""
        lane = self._lanes.get(sender)
        if lane is None and len(self._lanes) < LANES_MAX:
            lane = self._lanes[sender] = deque()
        if lane is None or len(lane) >= LANE_MAX:
            self.dropped += 1
            return False
        lane.append(value)
        self._filled.set()
        return True

    async def get(self) -> T:
        """Wait for the oldest message of the sender whose turn it is. For one reader."""
        while not self._lanes:
            self._filled.clear()
            await self._filled.wait()
        sender, lane = self._lanes.popitem(last=False)
        value = lane.popleft()
        if lane:
            self._lanes[sender] = lane  # at the end: the other senders come first
        return value
