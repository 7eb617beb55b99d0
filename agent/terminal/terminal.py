"""The terminal's life: takes requests one at a time, runs each one's verification, settles its result.

Three loops on one asyncio loop: inbound messages, frames, and the verification that is open. What to do with
a request is decided in ``core.admission``; what happens inside a verification in ``core.verification``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from agent.core.model import Request, Timings
from agent.core.ports import Accepted
from agent.core.reasons import Decision, Reason
from agent.core.steps import Event, Finished, InputFailed, Interrupted
from agent.errors import CameraHung, StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.health.counters import Counters
from agent.health.liveness import LivenessSignal
from agent.log import facts
from agent.terminal.call_budget import CallBudget
from agent.terminal.frame_loop import FrameLoop
from agent.terminal.intake import Intake
from agent.terminal.parts import Keep, Ports, Settings
from agent.terminal.results import count, outcome_of, result_of, stored_as
from agent.terminal.slot import Slot
from agent.terminal.verification_runner import Tools, Verification, VerificationOutcome

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 2.0  # for the open verification's last result; it is stored before it is sent


class Terminal:
    """Serves requests until told to stop. Whoever shows ``counters`` and ``conditions`` reads them here."""

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        conditions: ConditionTracker | None = None,
        slot: Slot | None = None,
    ) -> None:
        self.counters = Counters()
        self.conditions = conditions or ConditionTracker(ports.clock.now_ms)
        self.pulse = LivenessSignal()
        self._ports = ports
        self._settings = settings
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vision")
        self.slot = slot or Slot()
        self._running: set[asyncio.Task[None]] = set()
        self._last_word: Event | None = None  # once the end has begun: for what is open then
        self._next: Callable[[], None] | None = None  # other settings, for when nothing is open
        told = (self.counters, self.conditions)
        self._guard = CallBudget(ports.clock, settings.guard, *told, earlier_calls=settings.earlier_calls)
        self._intake = Intake(
            ports, settings, told, slot=self.slot, accept=self._accept, abandon=self._abandon
        )
        self._frames = FrameLoop(
            ports,
            worker=self._worker,
            report=(*told, self.pulse),
            current=lambda: self.slot.current,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set, or ``CameraHung`` is raised; what is open then is answered and delivered.

        What is just being claimed is open, too. ``stop`` is set in any case: then whoever waits for it hears.
        """
        loops = [
            asyncio.create_task(self._intake.run(), name="inbound"),
            asyncio.create_task(self._frames.run(), name="frames"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        self._last_word = _last_word(done, self._ports.clock.now_ms())
        self.slot.stopping = True
        if self.slot.current is not None:
            self.slot.current.post(self._last_word)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._answer_what_is_open()
        ending = [*self._running, *self._intake.under_way, *loops, stopped]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for task in done:
            task.result()  # a loop that ended by itself ended by a bug: let it be seen

    def close(self) -> None:
        """End the vision thread, after everybody who may call the eye. Safe to call twice."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _answer_what_is_open(self) -> None:
        while open_work := {*self._running, *self._intake.under_way}:
            await asyncio.wait(open_work)

    def adopt(self, settings: Settings, keep: Keep, prepare_eye: Callable[[], None]) -> None:
        """Other rules from the next verification on; the open one, if any, ends by its own."""

        def take() -> None:
            self._settings, self._ports = settings, replace(self._ports, keep=keep)
            self._intake.use(settings)
            self._guard.use(settings.guard)
            self._worker.submit(prepare_eye)  # behind any look that is still under way

        if self.slot.current is None:
            take()
        else:
            self._next = take

    @property
    def epoch(self) -> str:
        return self._settings.epoch

    @property
    def worker(self) -> Executor:
        """The one thread in which the eye may be called."""
        return self._worker

    # --- one request ----------------------------------------------------------------------------

    async def _accept(self, request: Request) -> None:
        await self._ports.ledger.claim(request)  # durable before anything is paid for
        self.conditions.clear(STORAGE_UNAVAILABLE)
        ports = self._ports
        tools = Tools(ports.clock, ports.eye, self._worker, ports.compare, ports.till, self._guard)
        rules = self._settings
        verification = Verification(request, tools, rules.limits, rules.publish_margin_ms, rules.traced)
        objection = self._objection(request)
        if objection is not None:
            verification.post(InputFailed(ports.clock.now_ms(), objection))
        if self._last_word is not None:  # the end began while the claim was being stored
            verification.post(self._last_word)
        self._worker.submit(ports.eye.begin, ports.clock.now_ms())
        self.slot.current = verification
        task = asyncio.create_task(self._verify(verification), name="verification")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await ports.till.tell(Accepted(request, request.budget_ms))

    async def _abandon(self, request: Request) -> None:
        finished = Finished(Decision.UNDECIDED, Reason.INTERRUPTED, asks=0)
        result = result_of(request, VerificationOutcome(finished, Timings()), self._settings.assurance)
        stored = await self._ports.ledger.settle(result)  # what was stored meanwhile wins
        count(result, self.counters, self.conditions)
        await self._ports.till.deliver(stored)

    def _objection(self, request: Request) -> Reason | None:
        if not set(request.require) <= self._settings.assurances:
            return Reason.ASSURANCE_UNMET
        return self._guard.objection(request)

    async def _verify(self, verification: Verification) -> None:
        keep = self._ports.keep
        try:
            outcome = await outcome_of(verification)
            result = result_of(verification.request, outcome, self._settings.assurance)
            self._guard.ended(result)  # a failed try counts, whether its result can be stored or not
            result, stored = await stored_as(self._ports.ledger, result)
        except StorageError as error:
            await self._intake.not_stored(result, error)
            return
        finally:
            self.slot.current = None
            self._worker.submit(self._ports.eye.begin, self._ports.clock.now_ms())  # forgets the face
            if self._next is not None:
                self._next()
                self._next = None
        count(result, self.counters, self.conditions, is_slow=outcome.is_slow)
        await self._ports.till.deliver(stored)
        try:
            await asyncio.to_thread(keep, result, outcome.story, outcome.trace)
        except OSError as error:
            log.warning("story_not_kept", extra=facts(why=error))  # it serves people, no payment needs it


def _last_word(done: Iterable[asyncio.Task[Any]], at_ms: int) -> Event:
    """Why the open verification is answered now."""
    if any(isinstance(task.exception(), CameraHung) for task in done):
        return InputFailed(at_ms, Reason.CAMERA_UNAVAILABLE)
    return Interrupted(at_ms)
