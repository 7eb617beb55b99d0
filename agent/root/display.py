"""Wiring of the payer's screen. Part of the root; loaded only when the screen is configured.

Two ports get a layer that passes each call on and shows its event; the check of each frame offers the frame.
So the terminal has no code for the screen, and a terminal without a screen has no layer.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from agent.config import Config
from agent.core.model import CameraHealth, Frame, Request, Result
from agent.core.payer_screen import ScreenEvent
from agent.core.ports import ClaimRecord, ClaimStore, Inbound, StoredResult, Till, TillEvent
from agent.core.reasons import Decision, Reason
from agent.health.conditions_board import DISPLAY_UNAVAILABLE
from agent.live_view.payer_picture import payer_picture
from agent.log import facts
from agent.page.display_app import DisplayOptions, display_application
from agent.page.display_key import DisplayKey
from agent.page.listener import Listener
from agent.page.payer_display import PayerDisplay
from agent.root.handle import AgentHandle
from agent.root.opener import Opener
from agent.root.wiring import BootClock, policy_limits
from agent.tasks import Background
from agent.terminal.parts import Ports

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObservedTill:
    """``core.ports.Till`` that passes each event to the payer's screen, then to the tills."""

    till: Till
    observe: Callable[[ScreenEvent], None]

    async def receive(self) -> Inbound:
        return await self.till.receive()

    async def publish(self, event: TillEvent) -> None:
        self.observe(event)
        await self.till.publish(event)

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        await self.till.deliver(stored, again=again)


@dataclass(frozen=True, slots=True)
class ObservedClaimStore:
    """``core.ports.ClaimStore`` that shows a result on the payer's screen once it is stored and final.

    ``is_late``: whether too little time is left for a match; the till then gets ``result_expired``.
    """

    claim_store: ClaimStore
    observe: Callable[[ScreenEvent], None]
    is_late: Callable[[StoredResult], bool]

    async def find(self, till: str, request_id: str) -> ClaimRecord | None:
        return await self.claim_store.find(till, request_id)

    async def claim(self, request: Request) -> None:
        await self.claim_store.claim(request)

    async def settle(self, result: Result) -> StoredResult:
        stored = await self.claim_store.settle(result)
        if stored.is_match is not (result.decision is Decision.MATCH):  # an earlier outcome won
            result = replace(result, decision=Decision.UNDECIDED, reason=Reason.INTERNAL_ERROR)
        elif stored.is_match and self.is_late(stored):
            result = replace(result, decision=Decision.UNDECIDED, reason=Reason.TIMED_OUT)
        self.observe(result)
        return stored


class DisplayWiring:
    """The payer's screen of one agent."""

    def __init__(self, config: Config, clock: BootClock) -> None:
        self._config: Callable[[], Config] = lambda: config
        self._clock = clock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="display")
        self.display = PayerDisplay(clock.now_ms, self._draw, self._worker)

    def with_screen_layers(self, adapt: Callable[[Ports], Ports]) -> Callable[[Ports], Ports]:
        """``adapt``, and then the layers of the screen."""
        return lambda ports: self._with_layers(adapt(ports))

    def facts(self) -> dict[str, Any]:
        """For the status document."""
        return {"display_viewers": self.display.viewers}

    async def open(self, stack: AsyncExitStack, handle: AgentHandle) -> None:
        """Open the page. A failure is a condition, and the opening is repeated."""
        self._config = lambda: handle.reload.config
        stack.callback(self._worker.shutdown, wait=False, cancel_futures=True)
        stack.push_async_callback(self.display.close)
        opener = Opener(
            "display", lambda: self._listen(stack), handle.terminal.conditions, DISPLAY_UNAVAILABLE
        )
        background = Background()
        stack.push_async_callback(background.close)
        if not await opener.open():
            background.add(opener.retry())

    async def _listen(self, stack: AsyncExitStack) -> None:
        """Raises ``ConfigError``: the port is taken; ``StorageError``: no start page."""
        config = self._config()
        options = DisplayOptions(
            config.display.shop_name or config.site, config.display.locale, config.display.sound
        )
        key = await asyncio.to_thread(DisplayKey, config.storage.directory)
        app = display_application(self.display, key, options, now_ms=self._clock.now_ms)
        listener = Listener(app, section="display")
        await listener.open("127.0.0.1", config.display.port)
        try:
            await asyncio.to_thread(key.write, listener.port)
        except BaseException:
            await listener.close()  # otherwise the repeated opening would find its own port in use
            raise
        stack.push_async_callback(listener.close)
        log.info("display_open", extra=facts(port=listener.port))

    def _draw(self, frame: Frame) -> bytes:
        return payer_picture(frame, policy_limits(self._config()))

    def _is_late(self, stored: StoredResult) -> bool:
        margin_ms = self._config().verification.publish_margin_ms
        return stored.deadline_ms - self._clock.now_ms() < margin_ms

    def _with_layers(self, ports: Ports) -> Ports:
        check, display = ports.check_frame, self.display

        def check_frame(frame: Frame) -> CameraHealth:
            display.offer(frame)
            return check(frame)

        till = ObservedTill(ports.till, display.observe)
        claim_store = ObservedClaimStore(ports.claim_store, display.observe, self._is_late)
        return replace(ports, till=till, claim_store=claim_store, check_frame=check_frame)
