"""The frame tap: gives single frames to a technician on request, and never a frame of a payer.

No frame is given during a verification, nor for some seconds after it, until the payer has left. No frame is
stored: without a waiting request a frame is ignored.
"""

import asyncio
from collections.abc import Callable

from agent.core.model import Frame
from agent.errors import CameraError, CameraReserved, Retry
from agent.texts import Text

PAYER_FRAMES_MS = 3_000  # frames of this time after a verification still belong to the payer
FRAME_TIMEOUT_S = 3.0


class FrameTap:
    """Receives each frame with ``offer``. To be used in the agent's event loop only.

    Attributes:
        watched: the live view is open. The caller that changes the attribute must publish ``state``.
    """

    def __init__(self, is_serving: Callable[[], bool], opened: Callable[[], int] = lambda: 0) -> None:
        """``is_serving``: whether a verification is open. ``opened``: number of verifications so far.

        A refused verification can begin and end between two frames. Its payer stands in front of the camera.
        """
        self._is_serving, self._opened = is_serving, opened
        self._offered_for = opened()  # the number at the newest frame
        self._waiting: set[asyncio.Future[Frame]] = set()
        self._reserved_until_ms = 0
        self._newest_ms = 0
        self.watched = False

    def offer(self, frame: Frame) -> None:
        """Give the frame to each waiting ``next_frame``, unless the frame is a payer's."""
        self._newest_ms = frame.captured_ms
        if self._is_payers():
            self._reserved_until_ms = frame.captured_ms + PAYER_FRAMES_MS
        self._offered_for = self._opened()
        for waiting in self._waiting:
            if waiting.done():
                continue
            try:
                self.check()
            except CameraReserved as error:
                waiting.set_exception(error)
            else:
                waiting.set_result(frame)

    async def next_frame(self) -> Frame:
        """The next frame that does not show a payer.

        Raises:
            CameraReserved: a verification is open, or ended less than ``PAYER_FRAMES_MS`` before this frame.
            CameraError: no frame came within 3 s.
        """
        if self._is_serving():
            raise CameraReserved(Text("detail.verification_open"))
        waiting: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(FRAME_TIMEOUT_S):
                return await waiting
        except TimeoutError:
            raise CameraError(Text("detail.no_frame"), retry=Retry.BACKOFF) from None
        finally:
            self._waiting.discard(waiting)

    def check(self) -> None:
        """To be called again before pixels leave: a request may have arrived. Raises ``CameraReserved``."""
        if self._is_payers() or self._newest_ms < self._reserved_until_ms:
            raise CameraReserved(Text("detail.verification_open"))

    def _is_payers(self) -> bool:
        """Whether a verification is open, or was open since the newest frame."""
        return self._is_serving() or self._opened() != self._offered_for
