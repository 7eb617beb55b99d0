"""Terminal: accepts one request at a time, runs its verification and settles its result.

Three tasks on one event loop: messages, frames, and the open verification. ``core.admission`` decides about a
request, ``core.verification`` about the outcome of a verification.
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

STOP_TIMEOUT_S = 2.0  # for the result of the open verification, which is stored before it is published


class Terminal:
    """Serves requests until ``stop`` is set. Status pages read ``counters`` and ``conditions``."""

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
        self._stop_event: Event | None = None  # set when the stop begins: ends each open verification
        self._pending_settings: Callable[[], None] | None = None  # applied after the open verification
        report = (self.counters, self.conditions)
        self._budget = CallBudget(ports.clock, settings.guard, *report, earlier_calls=settings.earlier_calls)
        self._intake = Intake(
            ports, settings, report, slot=self.slot, accept=self._accept, abandon=self._abandon
        )
        self._frames = FrameLoop(
            ports,
            worker=self._worker,
            report=(*report, self.pulse),
            current=lambda: self.slot.current,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set or the camera hangs; then answer and deliver open requests.

        A request that is being claimed is open too. Sets ``stop`` in each case, because other tasks wait for
        it.

        Raises:
            CameraHung: only a new process can use the camera again.
        """
        loops = [
            asyncio.create_task(self._intake.run(), name="inbound"),
            asyncio.create_task(self._frames.run(), name="frames"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        self._stop_event = _stop_event(done, self._ports.clock.now_ms())
        self.slot.stopping = True
        if self.slot.current is not None:
            self.slot.current.post(self._stop_event)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while open_tasks := {*self._running, *self._intake.open_tasks}:
                    await asyncio.wait(open_tasks)
        ending = [*self._running, *self._intake.open_tasks, *loops, stopped]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for task in done:
            task.result()  # raises the exception of a loop that ended without a stop

    def close(self) -> None:
        """End the vision thread, after all users of the analyzer have ended. Safe to call twice."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def adopt(self, settings: Settings, keep: Keep, prepare_eye: Callable[[], None]) -> None:
        """Apply new settings from the next verification on. An open verification keeps its settings."""

        def apply() -> None:
            self._settings, self._ports = settings, replace(self._ports, keep=keep)
            self._intake.use(settings)
            self._budget.use(settings.guard)
            self._worker.submit(prepare_eye)  # runs after an analysis that is still running

        if self.slot.current is None:
            apply()
        else:
            self._pending_settings = apply

    @property
    def epoch(self) -> str:
        return self._settings.epoch

    @property
    def worker(self) -> Executor:
        """The only thread that may call the analyzer."""
        return self._worker

    # --- one request ----------------------------------------------------------------------------

    async def _accept(self, request: Request) -> None:
        await self._ports.ledger.claim(request)  # durable before any paid call
        self.conditions.clear(STORAGE_UNAVAILABLE)
        ports = self._ports
        tools = Tools(ports.clock, ports.analyzer, self._worker, ports.compare, ports.till, self._budget)
        settings = self._settings
        verification = Verification(
            request, tools, settings.limits, settings.publish_margin_ms, settings.traced
        )
        objection = self._objection(request)
        if objection is not None:
            verification.post(InputFailed(ports.clock.now_ms(), objection))
        if self._stop_event is not None:  # the stop began while the claim was being stored
            verification.post(self._stop_event)
        self._worker.submit(ports.analyzer.begin, ports.clock.now_ms())
        self.slot.current = verification
        task = asyncio.create_task(self._verify(verification), name="verification")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await ports.till.tell(Accepted(request, request.budget_ms))

    async def _abandon(self, request: Request) -> None:
        finished = Finished(Decision.UNDECIDED, Reason.INTERRUPTED, asks=0)
        most = self._settings.limits.max_asks  # the record of the sent calls is lost
        outcome = VerificationOutcome(finished, Timings(), calls=most)
        result = result_of(request, outcome, self._settings.assurance)
        stored = await self._ports.ledger.settle(result)  # a result that is already stored wins
        count(result, self.counters, self.conditions)
        await self._ports.till.deliver(stored)

    def _objection(self, request: Request) -> Reason | None:
        if not set(request.require) <= self._settings.assurances:
            return Reason.ASSURANCE_UNMET
        return self._budget.objection(request)

    async def _verify(self, verification: Verification) -> None:
        keep = self._ports.keep
        try:
            outcome = await outcome_of(verification)
            result = result_of(verification.request, outcome, self._settings.assurance)
            self._budget.ended(result)  # a failed attempt counts even if its result cannot be stored
            result, stored = await stored_as(self._ports.ledger, result)
        except StorageError as error:
            await self._intake.not_stored(result, error)
            return
        finally:
            self.slot.current = None
            self._worker.submit(self._ports.analyzer.begin, self._ports.clock.now_ms())  # deletes the face
            if self._pending_settings is not None:
                self._pending_settings()
                self._pending_settings = None
        count(result, self.counters, self.conditions, is_slow=outcome.is_slow)
        await self._ports.till.deliver(stored)
        try:
            await asyncio.to_thread(keep, result, outcome.frame_log, outcome.trace)
        except OSError as error:
            log.warning("frame_log_not_stored", extra=facts(why=error))  # for diagnosis, not for payments


def _stop_event(done: Iterable[asyncio.Task[Any]], at_ms: int) -> Event:
    """The event that ends an open verification at the stop."""
    if any(isinstance(task.exception(), CameraHung) for task in done):
        return InputFailed(at_ms, Reason.CAMERA_UNAVAILABLE)
    return Interrupted(at_ms)
