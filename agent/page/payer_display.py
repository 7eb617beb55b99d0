"""The payer's screen: the newest screen and the newest picture, for one viewer.

Rules:
1. A verification never waits for the screen. ``observe`` and ``offer`` return at once and raise nothing.
2. A frame is drawn only during an open verification and while a viewer is connected, one at a time. A frame
   that arrives meanwhile replaces the waiting one. Drawing has a thread of its own.
3. The picture is dropped with the end of the verification, also one that is being drawn.
4. There is one viewer. Without a viewer nothing is drawn and nothing waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from agent.core.model import Frame
from agent.core.payer_screen import Guiding, Idle, Screen, ScreenEvent, advance, wake_at
from agent.errors import AgentError
from agent.log import facts
from agent.tasks import end_tasks

log = logging.getLogger(__name__)

PERIOD_MS = 75  # least time between two drawn frames: about 10 a second from a camera with 10 or 30
HEARTBEAT_S = 0.5  # the page blanks the screen when no message arrives for three of these


@dataclass(frozen=True, slots=True)
class Shown:
    """The content of one message. ``picture`` is None without a new picture."""

    screen: Screen
    picture: bytes | None


class PayerDisplay:
    """To be used in the agent's event loop only.

    Attributes:
        screen: what the page shows now.
        viewers: 0 or 1.
    """

    def __init__(self, now_ms: Callable[[], int], draw: Callable[[Frame], bytes], worker: Executor) -> None:
        """Start nothing.

        Args:
            now_ms: the boot clock.
            draw: the JPEG of a frame; called in ``worker``; raises ``AgentError``.
            worker: one thread, which nothing of a verification uses.
        """
        self._now_ms, self._draw, self._worker = now_ms, draw, worker
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._drawing: asyncio.Task[None] | None = None
        self._next: Frame | None = None
        self._picture: bytes | None = None
        self._offered_ms = 0
        self._failed = False  # the last drawing failed: logged once
        self.screen: Screen = Idle()
        self.viewers = 0

    def observe(self, event: ScreenEvent | None) -> None:
        """Apply an event of the terminal; None: time has passed."""
        try:
            self._show(advance(self.screen, event, self._now_ms()))
        except Exception:
            log.exception("bug_in_display")

    def offer(self, frame: Frame) -> None:
        """Draw the frame if a viewer should see it."""
        screen = self.screen
        if not self.viewers or not isinstance(screen, Guiding) or frame.captured_ms < screen.began_ms:
            return
        if 0 <= frame.captured_ms - self._offered_ms < PERIOD_MS:
            return
        self._next, self._offered_ms = frame, frame.captured_ms
        if self._drawing is None:
            self._drawing = asyncio.create_task(self._draw_newest(), name="payer's screen")

    @contextlib.contextmanager
    def viewer(self) -> Iterator[None]:
        """Hold the place of the viewer. The caller has checked that ``viewers`` is 0."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1
            self._next = self._picture = None

    async def messages(self) -> AsyncGenerator[Shown]:
        """The screen now, after each change, and every ``HEARTBEAT_S``; always the newest."""
        sent: bytes | None = None
        while True:
            changed, newest = self._changed, self._picture  # a change while the caller sends is not missed
            picture, sent = (None if newest is sent else newest), newest
            yield Shown(self.screen, picture)
            del picture, newest
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await changed.wait()

    async def close(self) -> None:
        """Drop the picture and stop drawing. Safe to call twice."""
        self._show(Idle())
        await end_tasks(self._drawing)

    def _show(self, screen: Screen) -> None:
        if screen is not self.screen:
            if not _is_same_verification(self.screen, screen):
                self._next = self._picture = None
            self.screen = screen
            self._notify()
        self._set_timer()

    def _set_timer(self) -> None:
        """Also after a call without a change: a timer can end a moment before its time on the boot clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ms = wake_at(self.screen)
        if due_ms is not None:
            left_s = max(1, due_ms - self._now_ms()) / 1e3
            self._timer = asyncio.get_running_loop().call_later(left_s, self.observe, None)

    async def _draw_newest(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (frame := self._next) is not None:
                self._next, began = None, self.screen
                try:
                    jpeg = await loop.run_in_executor(self._worker, self._draw, frame)
                except AgentError as error:
                    self._report(error)
                    continue
                self._failed = False
                if self.viewers and _is_same_verification(began, self.screen):
                    self._picture = jpeg
                    self._notify()
        except Exception:
            log.exception("bug_in_display")
        finally:
            self._drawing = None

    def _report(self, error: AgentError) -> None:
        if not self._failed:
            log.warning("display_without_picture", extra=facts(code=error.code, why=error))
        self._failed = True

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _is_same_verification(one: Screen, other: Screen) -> bool:
    if not isinstance(one, Guiding) or not isinstance(other, Guiding):
        return False
    return (one.till, one.request_id, one.began_ms) == (other.till, other.request_id, other.began_ms)
