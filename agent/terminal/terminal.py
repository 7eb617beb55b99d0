"""Terminal: accepts one request at a time, runs its verification and settles its result.

Three tasks on one event loop: messages, frames, and the open verification. ``core.admission`` decides about a
request, ``core.verification`` about the outcome of a verification.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace

from agent.core.model import Request
from agent.core.pace import Pace
from agent.core.ports import AcceptedEvent
from agent.core.reasons import Reason
from agent.core.verification_types import Event, InputFailed, Interrupted
from agent.errors import CameraHung, StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.health.counters import Counters
from agent.log import facts
from agent.tasks import end_tasks
from agent.terminal.api_call import CallBudget
from agent.terminal.frame_loop import FrameLoop, WatchdogSignal
from agent.terminal.intake import Intake
from agent.terminal.parts import Ports, RecordVerification, Settings
from agent.terminal.results import Results, result_of
from agent.terminal.verification_runner import OpenVerification, Verification, outcome_of
from agent.terminal.view_conditions import ViewConditions

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 2.0  # for the result of the open verification, which is stored before it is published


class Terminal:
    """Serves requests until ``stop`` is set. Status pages read ``counters`` and ``conditions``."""

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        conditions: ConditionTracker | None = None,
        open_verification: OpenVerification | None = None,
    ) -> None:
        self.counters = Counters()
        self.conditions = conditions or ConditionTracker(ports.clock.now_ms)
        self.watchdog_signal = WatchdogSignal()
        self.pace: Pace | None = None  # None: not measured yet
        self.view = ViewConditions(self.conditions, ports.clock)
        self._ports = ports
        self._settings = settings
        self.worker: Executor = ThreadPoolExecutor(1, thread_name_prefix="vision")  # calls the analyzer
        self.open_verification = open_verification or OpenVerification()
        self._verify_tasks: set[asyncio.Task[None]] = set()
        self._stop_event: Event | None = None  # set when the stop begins: ends each open verification
        self._pending_settings: Callable[[], None] | None = None  # applied after the open verification
        counters, conditions = self.counters, self.conditions
        self.budget = CallBudget(
            ports.clock, settings.guard, counters, conditions, earlier_calls=settings.earlier_calls
        )
        self.results = Results(ports, settings, counters, conditions)
        self._intake = Intake(
            ports,
            settings,
            open_verification=self.open_verification,
            results=self.results,
            conditions=conditions,
            accept=self._claim_and_start,
        )
        self._frames = FrameLoop(
            ports,
            self.worker,
            counters,
            conditions,
            self.watchdog_signal,
            lambda: self.open_verification.current,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set or the camera hangs; then answer and deliver open requests.

        A request that is being claimed is open too. Sets ``stop`` in each case, because other tasks wait for
        it. Raises ``CameraHung``: only a new process can use the camera again.
        """
        loops = [
            asyncio.create_task(self._intake.run(), name="inbound"),
            asyncio.create_task(self._frames.run(), name="frames"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            now_ms = self._ports.clock.now_ms()
            is_hung = any(isinstance(task.exception(), CameraHung) for task in done)
            camera_failed = InputFailed(now_ms, Reason.CAMERA_UNAVAILABLE)
            self._stop_event = camera_failed if is_hung else Interrupted(now_ms)
            self.open_verification.is_stopping = True
            if self.open_verification.current is not None:
                self.open_verification.current.post(self._stop_event)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    while open_tasks := {*self._verify_tasks, *self._intake.open_tasks}:
                        await asyncio.wait(open_tasks)
        finally:  # also when the caller is cancelled
            await end_tasks(*self._verify_tasks, *self._intake.open_tasks, *loops, stopped)
        for task in done:
            task.result()  # raises the exception of a loop that ended without a stop

    def set_pace(self, pace: Pace) -> None:
        """Analyze at most ``pace.fps`` frames a second. At the configured rate every frame is analyzed."""
        self.pace = pace
        self._frames.period_ms = pace.period_ms if pace.is_reduced else 0.0

    def close(self) -> None:
        """End the vision thread, after all users of the analyzer have ended. Safe to call twice."""
        self.worker.shutdown(wait=False, cancel_futures=True)

    def apply_settings(
        self, settings: Settings, record: RecordVerification, use_limits: Callable[[], None]
    ) -> None:
        """Apply new settings from the next verification on. An open verification keeps its settings.

        ``use_limits`` passes the new policy limits to the analyzer; called in the vision thread.
        """

        def apply() -> None:
            self._settings, self._ports = settings, replace(self._ports, record=record)
            self._intake.settings = self.results.settings = settings
            self.budget.set_limits(settings.guard)
            self.worker.submit(use_limits)  # runs after an analysis that is still running

        if self.open_verification.current is None:
            apply()
        else:
            self._pending_settings = apply

    @property
    def epoch(self) -> str:
        return self._settings.epoch

    async def _claim_and_start(self, request: Request) -> None:
        await self._ports.claim_store.claim(request)  # durable before any paid call
        self.conditions.clear(STORAGE_UNAVAILABLE)
        ports = self._ports
        verification = Verification(request, ports, self._settings, self.worker, self.budget)
        reason = self.budget.limit_reached(request)
        if not set(request.require) <= self._settings.assurances:
            reason = Reason.ASSURANCE_UNMET
        if reason is not None:
            verification.post(InputFailed(ports.clock.now_ms(), reason))
        if self._stop_event is not None:  # the stop began while the claim was being stored
            verification.post(self._stop_event)
        self.worker.submit(ports.analyzer.begin, ports.clock.now_ms())
        self.open_verification.current = verification
        self.open_verification.opened += 1
        task = asyncio.create_task(self._run_and_settle(verification), name="verification")
        self._verify_tasks.add(task)
        task.add_done_callback(self._verify_tasks.discard)
        await ports.till.publish(AcceptedEvent(request, request.budget_ms))

    async def _run_and_settle(self, verification: Verification) -> None:
        record = self._ports.record
        try:
            outcome = await outcome_of(verification)
            result = result_of(verification.request, outcome, self._settings.assurance)
            self.budget.record_end(result)  # a failed attempt counts even if its result cannot be stored
            result, stored = await self.results.store(result)
        except StorageError as error:
            await self.results.refuse_unstored(result, error)
            return
        finally:
            self.open_verification.current = None
            self.worker.submit(self._ports.analyzer.begin, self._ports.clock.now_ms())  # deletes the face
            if self._pending_settings is not None:
                self._pending_settings()
                self._pending_settings = None
        self.view.add(outcome.frame_log.frames_by_reason, result.reason)
        await self.results.deliver(result, stored, outcome.frame_log, is_slow=outcome.is_slow)
        try:
            await asyncio.to_thread(record, result, outcome.frame_log, outcome.trace)
        except OSError as error:
            log.warning("frame_log_not_stored", extra=facts(why=error))  # for diagnosis, not for payments
