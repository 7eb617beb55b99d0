"""The newest frame: a capture thread fills one slot, whoever asks gets what is in it. Nothing is ever queued.

Every wait is bounded. A driver that hangs for ever costs one abandoned daemon thread, never the terminal.
"""

from __future__ import annotations

import asyncio
import logging
import threading

from agent.camera.grabber import Exposing, Grabber
from agent.core.model import FaceLight, Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry

log = logging.getLogger(__name__)

_START_S = 2.0  # how long start() waits to hear whether the camera opened
_STOP_S = 1.8  # then the thread is abandoned; the port promises 2 s
_REOPEN_S = 1.0  # pause before a lost camera is opened again
_STALL_CHECK_S = 0.05  # the injected clock is asked this often while no frame comes


class _Capture:
    """One run of the capture thread."""

    def __init__(self, grabber: Grabber) -> None:
        self._grabber = grabber
        self._lock = threading.Lock()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._ended = threading.Event()
        self.newest: Frame | None = None
        self.error: CameraError | None = None
        self.opened = threading.Event()
        self.thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.thread.start()

    def end(self) -> None:
        self._ended.set()
        self._grabber.close()
        self.thread.join(_STOP_S)
        if self.thread.is_alive():
            log.warning("capture_thread_abandoned")

    async def wait(self, seen: Frame | None, timeout_s: float) -> None:
        """Until there is something newer than ``seen``, or the time is over."""
        changed = asyncio.Event()
        waiter = (asyncio.get_running_loop(), changed)
        with self._lock:
            self._waiters.add(waiter)
        try:
            if self.newest is seen:  # asked again, now that a wake-up cannot be missed
                async with asyncio.timeout(timeout_s):
                    await changed.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def _run(self) -> None:
        while not self._ended.is_set():
            again = self._capture_until_error()
            self.opened.set()
            self._wake()
            if not again or self._ended.wait(_REOPEN_S):
                return

    def _capture_until_error(self) -> bool:
        """Open and grab; True when it is worth opening again. A frame clears the error of before."""
        try:
            self._grabber.open()
            self.opened.set()
            while not self._ended.is_set():
                self.newest = self._grabber.grab()
                self.error = None
                self._wake()
        except CameraError as error:
            self.error = error
            return error.retry is not Retry.NEVER
        except Exception as error:
            log.exception("bug_in_grabber")
            self.error = CameraError(f"the camera adapter failed: {type(error).__name__}: {error}")
        finally:
            self._grabber.close()
        return False

    def _wake(self) -> None:
        with self._lock:
            for loop, changed in self._waiters:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(changed.set)


class NewestFrameSource:
    """Implements ``core.ports.Camera`` on a blocking grabber."""

    def __init__(self, grabber: Grabber, clock: Clock, *, stall_ms: int) -> None:
        self._grabber = grabber
        self._clock = clock
        self._stall_ms = stall_ms
        self._capture: _Capture | None = None
        self._abandoned: _Capture | None = None
        self._started_ms = 0

    def start(self) -> None:
        """Start the capture thread; returns once the camera is open, or after 2 s while it still tries.

        Raises:
            CameraError: it could not be opened, or an earlier run still hangs in the driver.
        """
        self.stop()
        if self._abandoned is not None and self._abandoned.thread.is_alive():
            raise CameraError(
                "the camera driver hangs", fix="Restart the agent; if it stays so, the terminal."
            )
        self._started_ms = self._clock.now_ms()
        capture = _Capture(self._grabber)
        self._capture = capture
        capture.opened.wait(_START_S)
        if capture.error is not None:
            self.stop()
            raise capture.error

    async def next_frame(self, after_seq: int) -> Frame:
        """The newest frame with ``seq > after_seq``, as soon as there is one.

        Raises:
            CameraError: not started, the grabber gave up, or no newer frame for ``stall_ms``.
        """
        while True:
            capture = self._capture
            if capture is None:
                raise CameraError("the camera is not started", retry=Retry.BACKOFF)
            newest, error = capture.newest, capture.error
            if newest is not None and newest.seq > after_seq:
                return newest
            if error is not None:
                raise error.with_traceback(None)  # raised again and again, it would grow
            self._check_stall(newest)
            await capture.wait(newest, _STALL_CHECK_S)

    def expose(self, light: FaceLight | None) -> None:
        """``Ports.expose``: handed to a camera that can act on it, forgotten otherwise."""
        if isinstance(self._grabber, Exposing):
            self._grabber.expose(light)

    def stop(self) -> None:
        """Stop and release within 2 s. Safe to call twice."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.end()
            self._abandoned = capture

    def _check_stall(self, newest: Frame | None) -> None:
        since_ms = self._started_ms if newest is None else newest.captured_ms
        silent_ms = self._clock.now_ms() - since_ms
        if silent_ms >= self._stall_ms:
            raise CameraError(f"no new frame for {silent_ms} ms", retry=Retry.BACKOFF)
