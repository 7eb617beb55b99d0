"""Runs one verification: waits, and does what the core says. It decides nothing.

One asyncio task owns the state. The eye runs in the vision worker, the API client awaits; both only put
events into the inbox. Every question is a task of its own, so that a deadline, a cancel or a better-numbered
question can end it at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

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
from agent.core.trace import Trace, bare
from agent.core.verification import advance, begin, wake_at
from agent.errors import AgentError, CameraError, CompareError, ModelError, Retry
from agent.log import facts
from agent.terminal.api_call import ApiCall, Budget, Spent

log = logging.getLogger(__name__)

# The client's own time-out comes before the core's: it counts the fault for the circuit breaker and names it.
_CLIENT_FIRST_MS = 30


@dataclass(frozen=True, slots=True)
class VerificationOutcome:
    finished: Finished
    timings: Timings
    story: FrameLog = field(default_factory=FrameLog)
    trace: Trace | None = None
    calls: int = 0  # sent to the API
    is_slow: bool = False  # the newest call was sent, and no answer came in time


def reason_of(error: AgentError) -> Reason:
    """The closed list's word for an error: its own code where that is a reason."""
    if isinstance(error, ModelError):
        return Reason.MODEL_UNUSABLE
    if isinstance(error, CameraError):  # why there is no picture is a condition's business
        return Reason.CAMERA_UNAVAILABLE
    return next((reason for reason in Reason if reason.value == error.code), Reason.INTERNAL_ERROR)


@dataclass(frozen=True, slots=True)
class Tools:
    """What one verification uses of the world."""

    clock: Clock
    eye: FaceAnalyzer
    worker: Executor  # the one vision thread
    compare: Compare
    till: Till
    purse: Budget


@dataclass(slots=True)
class Verification:
    """One open request. ``post`` is how the frame loop, a cancel or a shutdown reach it."""

    request: Request
    tools: Tools
    limits: Limits
    publish_margin_ms: int
    traced: bool = False  # whether to keep what it was decided from
    _events: list[Event] = field(default_factory=list)
    _inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    _asks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _shown: ShownHint = field(default_factory=ShownHint)
    _story: FrameLog = field(default_factory=FrameLog)
    _spent: Spent = field(default_factory=Spent)
    _since_ms: int = 0  # up to when the time is booked

    def post(self, event: Event) -> None:
        self._inbox.put_nowait(event)

    async def run(self) -> VerificationOutcome:
        """From begin to Finished. Returns before the core's deadline; never raises for a foreign failure."""
        clock = self.tools.clock
        limits = replace(
            self.limits,
            jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
            plans=draw(self.limits.turns, secrets.randbelow),
        )
        deadline_ms = self.request.deadline_ms - self.publish_margin_ms
        state: State = begin(deadline_ms, not_before_ms=self.request.received_ms)
        self._since_ms = self.request.received_ms
        self._story.entered("seeking", 0)
        prepared = asyncio.create_task(self._prepare(), name="prepare")
        try:
            while not isinstance(state, Finished):
                event = await self._next_event(wake_at(state))
                if self.traced:
                    self._events.append(bare(event))
                before = state
                state, effects = advance(state, event, limits)
                await self._note(before, state, event)
                for effect in effects:
                    match effect:
                        case StartCall():
                            task = asyncio.create_task(self._ask(effect, prepared), name="ask")
                            self._asks[effect.number] = task
                        case CancelCall(number=number):
                            self._asks[number].cancel()
                        case Report():
                            pass  # the caller settles what ``run`` returns
        finally:
            await self._drop_open_work(prepared)
        events = tuple(self._events)
        trace = Trace(deadline_ms, self.request.received_ms, limits, events) if self.traced else None
        spent = self._spent
        timings = spent.timings(clock.now_ms() - self.request.received_ms)
        return VerificationOutcome(state, timings, self._story, trace, spent.calls, spent.is_slow)

    async def _next_event(self, due_ms: int) -> Event:
        left_s = (due_ms - self.tools.clock.now_ms()) / 1e3
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await self._inbox.get()
        except TimeoutError:
            return Ticked(max(due_ms, self.tools.clock.now_ms()))

    async def _note(self, before: State, after: State, event: Event) -> None:
        """Book-keeping and hints: nothing here changes the outcome."""
        now_ms = self.tools.clock.now_ms()
        if isinstance(event, FrameAnalyzed):
            self._story.saw(event.analysis, now_ms - self.request.received_ms)
        if isinstance(before, Seeking | Challenging):
            self._spent.wait_face_ms += now_ms - self._since_ms
        elif isinstance(before, Holding):
            self._spent.hold_ms += now_ms - self._since_ms
        self._since_ms = now_ms
        if isinstance(event, FrameAnalyzed | Ticked) and not isinstance(after, Finished):
            seen = event.analysis if isinstance(event, FrameAnalyzed) else None
            hint = next_hint(self._shown, seen, now_ms, prompt_of(after))
            if hint is not self._shown and hint.guidance is not None:
                self._shown = hint
                await self.tools.till.tell(Guided(self.request, hint.guidance))
        if type(after) is not type(before) and not isinstance(after, Finished):
            stage = type(after).__name__.lower()
            self._story.entered(stage, now_ms - self.request.received_ms)
            await self.tools.till.tell(Staged(self.request, stage))

    async def _prepare(self) -> ImageSource | None:
        """The reference; None after a failure, whose event ends the verification."""
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

    async def _ask(self, ask: StartCall, prepared: asyncio.Task[ImageSource | None]) -> None:
        now_ms = self.tools.clock.now_ms
        if not self.tools.purse.reserve():
            self.post(CallFailed(now_ms(), ask.number, Reason.COST_LIMIT, Retry.NEVER))
            return
        call = ApiCall(now_ms, self.tools.purse, self._spent, late_at_ms=now_ms() + ask.timeout_ms)
        try:
            event = await self._answer_to(ask, prepared, call)
        finally:
            call.end()
        if event is not None:
            self.post(event)

    async def _answer_to(
        self, ask: StartCall, prepared: asyncio.Task[ImageSource | None], call: ApiCall
    ) -> Event | None:
        """Make the call. None: no reference, and the event of that ends the verification."""
        now_ms = self.tools.clock.now_ms
        try:
            began_ms = now_ms()
            crop = await asyncio.get_running_loop().run_in_executor(
                self.tools.worker, self.tools.eye.crop, ask.shot
            )
            self._spent.encode_ms += now_ms() - began_ms
            reference = await asyncio.shield(prepared)
            if reference is None:
                return None
            call.begin(crop)
            left_ms = max(1, call.late_at_ms - _CLIENT_FIRST_MS - now_ms())
            answer = await self.tools.compare.call(reference, crop, ask.number, left_ms, call.sent)
        except AgentError as error:
            call.failed(error)
            api_code = error.api_code if isinstance(error, CompareError) else None
            level = logging.INFO if isinstance(error, CompareError) else logging.WARNING
            log.log(
                level,
                "ask_failed",
                extra=facts(ask=ask.number, code=error.code, api_code=api_code, why=error),
            )
            return CallFailed(now_ms(), ask.number, reason_of(error), error.retry, api_code)
        except Exception:
            log.exception("bug_in_ask")
            return InternalFailure(now_ms())
        call.answered(answer)
        return CallAnswered(now_ms(), ask.number, answer)

    async def _drop_open_work(self, prepared: asyncio.Task[ImageSource | None]) -> None:
        """Cancel what is not needed any more, and wait until its times and its costs are booked."""
        tasks = [prepared, *self._asks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
