"""How a technician gets to see a frame: on request, and never one of a payer.

A frame is handed out only while no verification is open, and not for some seconds after one: whoever paid
walks away first. Nothing is kept: a frame nobody waits for passes by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.core.model import CameraHealth, Frame
from agent.errors import CameraError, CameraReserved, Retry

LINGER_MS = 3_000  # of frames after a verification that belong to its payer, too
FRAME_TIMEOUT_S = 3.0


class FrameTap:
    """Stands around the cheap look that every frame gets (``Ports.glance``). For the agent's loop alone.

    Attributes:
        watched: the live preview is open. The caller that changes it publishes ``state``.
    """

    def __init__(self, look: Callable[[Frame], CameraHealth], serves_a_payer: Callable[[], bool]) -> None:
        self._look = look
        self._serves_a_payer = serves_a_payer
        self._waiting: set[asyncio.Future[Frame]] = set()
        self._payers_until_ms = 0
        self._newest_ms = 0
        self.watched = False

    def look(self, frame: Frame) -> CameraHealth:
        """What the cheap look says; whoever waits for a frame gets this one, unless it is a payer's."""
        self._newest_ms = frame.captured_ms
        if self._serves_a_payer():
            self._payers_until_ms = frame.captured_ms + LINGER_MS
        if self._waiting:
            self._hand_out(frame)
        return self._look(frame)

    async def next_frame(self) -> Frame:
        """The next frame that is nobody's.

        Raises:
            CameraReserved: a verification is open, or just was.
            CameraError: no frame came within 3 s.
        """
        self.check()
        wanted: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting.add(wanted)
        try:
            async with asyncio.timeout(FRAME_TIMEOUT_S):
                return await wanted
        except TimeoutError:
            raise CameraError("the agent gets no frame from its camera", retry=Retry.BACKOFF) from None
        finally:
            self._waiting.discard(wanted)

    def check(self) -> None:
        """Asked again before pixels go anywhere: a request may have come since. Raises ``CameraReserved``."""
        if self._serves_a_payer() or self._newest_ms < self._payers_until_ms:
            raise CameraReserved("a verification is open, or just was: its pictures are shown to nobody")

    def _hand_out(self, frame: Frame) -> None:
        for wanted in self._waiting:
            if wanted.done():
                continue
            try:
                self.check()
            except CameraReserved as error:
                wanted.set_exception(error)
            else:
                wanted.set_result(frame)
