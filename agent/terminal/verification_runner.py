"""Runner of one verification: waits for events and executes the effects of the core. The core decides.

One asyncio task owns the state. The analyzer runs in the vision worker, the API client awaits; both only put
events into the inbox. Each API call is a separate task, so that a deadline, a cancel or a newer call can end
it at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from agent.core.challenge import draw
from agent.core.frame_log import FrameLog
from agent.core.guidance import ShownHint, next_hint, prompt_of
from agent.core.model import Request, Timings
from agent.core.ports import Clock, Compare, FaceAnalyzer, Guided, ImageSource, Staged, Till
from agent.core.reasons import Reason
from agent.core.steps import (
    CallAnswered,
    CallFailed,
    CancelCall,
    Challenging,
    Event,
    Finished,
    FrameAnalyzed,
    Holding,
    InputFailed,
    InternalFailure,
    Limits,
    Report,
    Seeking,
    StartCall,
    State,
    Ticked,
)
from agent.core.trace import Trace, without_pixels
from agent.core.verification import advance, begin, wake_at
from agent.errors import AgentError, CameraError, CompareError, ModelError, Retry
from agent.log import facts
from agent.terminal.api_call import ApiCall, Budget, Spent

log = logging.getLogger(__name__)

# The time limit of the client is earlier than that of the core, because the client counts the failure for the
# circuit breaker and returns its reason.
_CLIENT_FIRST_MS = 30


@dataclass(frozen=True, slots=True)
class VerificationOutcome:
    finished: Finished
    timings: Timings
    frame_log: FrameLog = field(default_factory=FrameLog)
    trace: Trace | None = None
    calls: int = 0  # sent to the API
    is_slow: bool = False  # the newest call was sent and not answered within its time limit


def reason_of(error: AgentError) -> Reason:
    """The reason for an error: its code if the code is a reason, else ``internal_error``."""
    if isinstance(error, ModelError):
        return Reason.MODEL_UNUSABLE
    if isinstance(error, CameraError):  # a condition names the cause
        return Reason.CAMERA_UNAVAILABLE
    return next((reason for reason in Reason if reason.value == error.code), Reason.INTERNAL_ERROR)


@dataclass(frozen=True, slots=True)
class Tools:
    """The ports that one verification uses."""

    clock: Clock
    analyzer: FaceAnalyzer
    worker: Executor  # the one vision thread
    compare: Compare
    till: Till
    budget: Budget


@dataclass(slots=True)
class Verification:
    """One open request. The frame loop, a cancel and a shutdown use ``post``."""

    request: Request
    tools: Tools
    limits: Limits
    publish_margin_ms: int
    traced: bool = False  # whether the outcome has a trace
    _events: list[Event] = field(default_factory=list)
    _inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    _calls: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _shown: ShownHint = field(default_factory=ShownHint)
    _frame_log: FrameLog = field(default_factory=FrameLog)
    _spent: Spent = field(default_factory=Spent)
    _since_ms: int = 0  # end of the time that is already added to ``_spent``

    def post(self, event: Event) -> None:
        self._inbox.put_nowait(event)

    async def run(self) -> VerificationOutcome:
        """Run until ``Finished``, at most until the core's deadline. Failures of adapters become events."""
        clock = self.tools.clock
        limits = replace(
            self.limits,
            jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
            plans=draw(self.limits.turns, secrets.randbelow),
        )
        deadline_ms = self.request.deadline_ms - self.publish_margin_ms
        state: State = begin(deadline_ms, not_before_ms=self.request.received_ms)
        self._since_ms = self.request.received_ms
        self._frame_log.add_stage("seeking", 0)
        prepared = asyncio.create_task(self._prepare(), name="prepare")
        try:
            while not isinstance(state, Finished):
                event = await self._next_event(wake_at(state))
                if self.traced:
                    self._events.append(without_pixels(event))
                before = state
                state, effects = advance(state, event, limits)
                await self._note(before, state, event)
                for effect in effects:
                    match effect:
                        case StartCall():
                            task = asyncio.create_task(self._call(effect, prepared), name="API call")
                            self._calls[effect.number] = task
                        case CancelCall(number=number):
                            self._calls[number].cancel()
                        case Report():
                            pass  # the caller settles the outcome
        finally:
            await _cancel([prepared, *self._calls.values()])  # counts their durations and costs
        events = tuple(self._events)
        trace = Trace(deadline_ms, self.request.received_ms, limits, events) if self.traced else None
        spent = self._spent
        timings = spent.timings(clock.now_ms() - self.request.received_ms)
        return VerificationOutcome(state, timings, self._frame_log, trace, spent.calls, spent.is_slow)

    async def _next_event(self, due_ms: int) -> Event:
        left_s = (due_ms - self.tools.clock.now_ms()) / 1e3
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await self._inbox.get()
        except TimeoutError:
            return Ticked(max(due_ms, self.tools.clock.now_ms()))

    async def _note(self, before: State, after: State, event: Event) -> None:
        """Update the frame log and the durations, and publish guidance. Never changes the outcome."""
        now_ms = self.tools.clock.now_ms()
        if isinstance(event, FrameAnalyzed):
            self._frame_log.add_frame(event.analysis, now_ms - self.request.received_ms)
        if isinstance(before, Seeking | Challenging):
            self._spent.wait_face_ms += now_ms - self._since_ms
        elif isinstance(before, Holding):
            self._spent.hold_ms += now_ms - self._since_ms
        self._since_ms = now_ms
        if isinstance(event, FrameAnalyzed | Ticked) and not isinstance(after, Finished):
            analysis = event.analysis if isinstance(event, FrameAnalyzed) else None
            hint = next_hint(self._shown, analysis, now_ms, prompt_of(after))
            if hint is not self._shown and hint.guidance is not None:
                self._shown = hint
                await self.tools.till.tell(Guided(self.request, hint.guidance))
        if type(after) is not type(before) and not isinstance(after, Finished):
            stage = type(after).__name__.lower()
            self._frame_log.add_stage(stage, now_ms - self.request.received_ms)
            await self.tools.till.tell(Staged(self.request, stage))

    async def _prepare(self) -> ImageSource | None:
        """The reference photo; None after a failure, whose event ends the verification."""
        now_ms = self.tools.clock.now_ms
        try:
            return await self.tools.compare.prepare(self.request)
        except AgentError as error:
            log.info("reference_failed", extra=facts(code=error.code, why=error))
            self.post(InputFailed(now_ms(), reason_of(error)))
        except Exception:
            log.exception("bug_in_prepare")
            self.post(InternalFailure(now_ms()))
        return None

    async def _call(self, start: StartCall, prepared: asyncio.Task[ImageSource | None]) -> None:
        now_ms = self.tools.clock.now_ms
        if not self.tools.budget.reserve():
            self.post(CallFailed(now_ms(), start.number, Reason.COST_LIMIT, Retry.NEVER))
            return
        late_at_ms = now_ms() + start.timeout_ms - _CLIENT_FIRST_MS
        call = ApiCall(now_ms, self.tools.budget, self._spent, late_at_ms)
        try:
            event = await self._event_of(start, prepared, call)
        finally:
            call.end()
        if event is not None:
            self.post(event)

    async def _event_of(
        self, start: StartCall, prepared: asyncio.Task[ImageSource | None], call: ApiCall
    ) -> Event | None:
        """Make the call. None without a reference photo: ``_prepare`` posts the event of that failure."""
        now_ms = self.tools.clock.now_ms
        try:
            began_ms = now_ms()
            crop = await asyncio.get_running_loop().run_in_executor(
                self.tools.worker, self.tools.analyzer.crop, start.shot
            )
            self._spent.encode_ms += now_ms() - began_ms
            reference = await asyncio.shield(prepared)
            if reference is None:
                return None
            call.begin(crop)
            left_ms = max(1, call.late_at_ms - now_ms())
            answer = await self.tools.compare.call(reference, crop, start.number, left_ms, call.sent)
        except AgentError as error:
            call.failed(error)
            api_code = error.api_code if isinstance(error, CompareError) else None
            level = logging.INFO if isinstance(error, CompareError) else logging.WARNING
            details = facts(ask=start.number, code=error.code, api_code=api_code, why=error)
            log.log(level, "api_call_failed", extra=details)
            return CallFailed(now_ms(), start.number, reason_of(error), error.retry, api_code)
        except Exception:
            log.exception("bug_in_api_call")
            return InternalFailure(now_ms())
        call.answered(answer)
        return CallAnswered(now_ms(), start.number, answer)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
