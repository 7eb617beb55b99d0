"""Runner of one verification: waits for events and executes the effects of the core. The core decides.

One asyncio task owns the state. The analyzer runs in the vision worker, the API client awaits; both only put
events into the inbox. Each API call is a separate task, so that a deadline, a cancel or a newer call can end
it at once.
"""

import asyncio
import logging
import random
import secrets
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from agent.core import verification_types as types
from agent.core.challenge_plan import draw
from agent.core.frame_log import FrameLog
from agent.core.guidance import ShownHint, next_hint, prompt_of
from agent.core.model import Request, Timings
from agent.core.ports import GuidanceEvent, ImageSource, StageEvent
from agent.core.reasons import Decision, Reason
from agent.core.trace import Trace, without_pixels
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import Comparing, Event, Finished, StartCall, State
from agent.errors import AgentError, CameraError, CompareError, ModelError, Retry
from agent.log import facts
from agent.tasks import end_tasks
from agent.terminal.api_call import ApiCall, CallBudget, PhaseTimes
from agent.terminal.parts import Ports, Settings

log = logging.getLogger(__name__)

# The time limit of the client is earlier than that of the core, because the client counts the failure for the
# circuit breaker and returns its reason.
_CLIENT_LIMIT_EARLIER_MS = 30


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


@dataclass(slots=True)
class Verification:
    """One open request. The frame loop, a cancel and a shutdown use ``post``."""

    request: Request
    ports: Ports
    settings: Settings
    worker: Executor  # the one vision thread
    budget: CallBudget
    _events: list[Event] = field(default_factory=list)
    _inbox: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    _calls: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _shown_hint: ShownHint = field(default_factory=ShownHint)
    frame_log: FrameLog = field(default_factory=FrameLog)
    _phase_times: PhaseTimes = field(default_factory=PhaseTimes)
    _counted_until_ms: int = 0  # end of the time that is already added to ``_phase_times``

    def post(self, event: Event) -> None:
        self._inbox.put_nowait(event)

    async def run(self) -> VerificationOutcome:
        """Run until ``Finished``, at most until the core's deadline. Failures of adapters become events."""
        settings, received_ms = self.settings, self.request.received_ms
        limits = replace(
            settings.limits,
            jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
            plans=draw(settings.limits.turns, secrets.randbelow),
        )
        deadline_ms = self.request.deadline_ms - settings.publish_margin_ms
        state: State = begin(deadline_ms, not_before_ms=received_ms)
        self._counted_until_ms, began_ms = received_ms, self.ports.clock.now_ms()
        self.frame_log.add_stage("seeking", 0)
        prepared = asyncio.create_task(self._prepare(), name="prepare")
        try:
            while not isinstance(state, Finished):
                arrived = await self._next_event(wake_at(state))
                event = arrived if prepared.done() else _as_photo_timeout(arrived, state, self._calls)
                if settings.is_traced:
                    self._events.append(without_pixels(event))
                before = state
                state, effects = advance(state, event, limits)
                await self._record_step(before, state, event)
                for effect in effects:
                    match effect:
                        case StartCall():
                            task = asyncio.create_task(self._run_call(effect, prepared), name="API call")
                            self._calls[effect.number] = task
                        case types.CancelCall(number=number):
                            self._calls[number].cancel()
                        case types.Report():
                            pass  # the caller settles the outcome
        finally:
            await end_tasks(prepared, *self._calls.values())  # counts their durations and costs
        trace = Trace(deadline_ms, received_ms, limits, tuple(self._events)) if settings.is_traced else None
        times = self._phase_times
        timings = times.timings(self.ports.clock.now_ms() - received_ms)
        self.frame_log.watched_ms = received_ms + timings.total - began_ms
        return VerificationOutcome(state, timings, self.frame_log, trace, times.calls, times.is_slow)

    async def _next_event(self, due_ms: int) -> Event:
        left_s = (due_ms - self.ports.clock.now_ms()) / 1e3
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await self._inbox.get()
        except TimeoutError:
            return types.Ticked(max(due_ms, self.ports.clock.now_ms()))

    async def _record_step(self, before: State, after: State, event: Event) -> None:
        """Update the frame log and the durations, and publish guidance. Never changes the outcome."""
        now_ms = self.ports.clock.now_ms()
        if isinstance(event, types.FrameAnalyzed):
            self.frame_log.add_frame(event.analysis, now_ms - self.request.received_ms)
        if isinstance(before, types.Seeking | types.Challenging):
            self._phase_times.wait_face_ms += now_ms - self._counted_until_ms
        elif isinstance(before, types.Holding):
            self._phase_times.hold_ms += now_ms - self._counted_until_ms
        self._counted_until_ms = now_ms
        if isinstance(event, types.FrameAnalyzed | types.Ticked) and not isinstance(after, Finished):
            analysis = event.analysis if isinstance(event, types.FrameAnalyzed) else None
            hint = next_hint(self._shown_hint, analysis, now_ms, prompt_of(after))
            if hint is not self._shown_hint and hint.guidance is not None:
                self._shown_hint = hint
                await self.ports.till.publish(GuidanceEvent(self.request, hint.guidance))
        if type(after) is not type(before) and not isinstance(after, Finished):
            stage = type(after).__name__.lower()
            self.frame_log.add_stage(stage, now_ms - self.request.received_ms)
            await self.ports.till.publish(StageEvent(self.request, stage))

    async def _prepare(self) -> ImageSource | None:
        """The reference photo; None after a failure, whose event ends the verification."""
        now_ms = self.ports.clock.now_ms
        try:
            return await self.ports.compare.prepare(self.request)
        except AgentError as error:
            log.info("reference_failed", extra=facts(code=error.code, why=error))
            self.post(types.InputFailed(now_ms(), reason_of(error)))
        except Exception:
            log.exception("bug_in_prepare")
            self.post(types.InternalFailure(now_ms()))
        return None

    async def _run_call(self, start: StartCall, prepared: asyncio.Task[ImageSource | None]) -> None:
        now_ms = self.ports.clock.now_ms
        if not self.budget.reserve():
            self.post(types.CallFailed(now_ms(), start.number, Reason.COST_LIMIT, Retry.NEVER))
            return
        late_at_ms = now_ms() + start.timeout_ms - _CLIENT_LIMIT_EARLIER_MS
        call = ApiCall(now_ms, self.budget, self._phase_times, late_at_ms)
        try:
            event = await self._call_event(start, prepared, call)
        finally:
            call.end()
        if event is not None:
            self.post(event)

    async def _call_event(
        self, start: StartCall, prepared: asyncio.Task[ImageSource | None], call: ApiCall
    ) -> Event | None:
        """Make the call. None without a reference photo: ``_prepare`` posts the event of that failure."""
        now_ms = self.ports.clock.now_ms
        try:
            began_ms = now_ms()
            loop = asyncio.get_running_loop()
            crop = await loop.run_in_executor(self.worker, self.ports.analyzer.crop, start.shot)
            self._phase_times.encode_ms += now_ms() - began_ms
            reference = await asyncio.shield(prepared)
            if reference is None:
                return None
            call.begin(crop)
            left_ms = max(1, call.late_at_ms - now_ms())
            answer = await self.ports.compare.call(reference, crop, start.number, left_ms, call.record_sent)
        except AgentError as error:
            call.outcome = error
            api_code = error.api_code if isinstance(error, CompareError) else None
            level = logging.INFO if isinstance(error, CompareError) else logging.WARNING
            details = facts(ask=start.number, code=error.code, api_code=api_code, why=error)
            log.log(level, "api_call_failed", extra=details)
            return types.CallFailed(now_ms(), start.number, reason_of(error), error.retry, api_code)
        except Exception:
            log.exception("bug_in_api_call")
            return types.InternalFailure(now_ms())
        call.outcome = answer
        return types.CallAnswered(now_ms(), start.number, answer)


def _as_photo_timeout(event: Event, state: State, calls: dict[int, asyncio.Task[None]]) -> Event:
    """The event, for an arrival while the photo still loads.

    No call is sent before the photo is loaded. So a time-out of the call becomes ``reference_unreachable``:
    the host of the photo is too slow, not the API. Cancels that call, because the core cancels a call that
    timed out, and not a failed one.
    """
    if not isinstance(state, Comparing) or not isinstance(event, types.Ticked):
        return event
    if event.at_ms < state.until_ms:
        return event
    number = state.context.asks
    calls[number].cancel()
    return types.CallFailed(event.at_ms, number, Reason.REFERENCE_UNREACHABLE, Retry.SAME)


async def outcome_of(verification: Verification) -> VerificationOutcome:
    """Run the verification. An exception becomes undecided, because each accepted request needs a result."""
    try:
        return await verification.run()
    except Exception:
        log.exception("bug_in_verification")
        finished = Finished(Decision.UNDECIDED, Reason.INTERNAL_ERROR, asks=0)
        total_ms = verification.ports.clock.now_ms() - verification.request.received_ms
        return VerificationOutcome(finished, Timings(total=total_ms))


@dataclass(slots=True)
class OpenVerification:
    """The one open verification, if any. Only the terminal writes; other parts read.

    ``current``: the open verification or None. ``is_stopping``: no further verification starts.
    ``opened``: number of verifications so far.
    """

    current: Verification | None = None
    is_stopping: bool = False
    opened: int = 0

    @property
    def is_open(self) -> bool:
        return self.current is not None

    def matching(self, till: str, request_id: str) -> Verification | None:
        """The open verification of this request; None if there is none."""
        current = self.current
        if current is None or (current.request.till, current.request.request_id) != (till, request_id):
            return None
        return current
