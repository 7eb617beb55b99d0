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
from typing import Protocol

from agent.core.challenge import draw
from agent.core.guidance import Shown, next_hint, prompt_of
from agent.core.model import Crop, Request, Timings
from agent.core.ports import Clock, Compare, Eye, Guided, Staged, Till
from agent.core.reasons import Reason
from agent.core.steps import (
    Abandon,
    Answered,
    Ask,
    AskFailed,
    Broke,
    Challenging,
    Comparing,
    Event,
    Failed,
    Finished,
    Holding,
    Limits,
    Looked,
    Report,
    Seeking,
    State,
    Ticked,
)
from agent.core.story import Story
from agent.core.trace import Trace, bare
from agent.core.verification import advance, begin, wake_at
from agent.errors import AgentError, CameraError, CompareError, ModelError, Retry
from agent.log import facts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    finished: Finished
    timings: Timings
    story: Story = field(default_factory=Story)
    trace: Trace | None = None


@dataclass(slots=True)
class Moments:
    """When things happened (boot clock, ms), None while they have not: the result's timings."""

    started_ms: int
    shot_ms: int | None = None
    asked_ms: int | None = None
    encode_ms: int = 0

    def timings(self, ended_ms: int, finished: Finished) -> Timings:
        answer = finished.comparison
        shot_ms = self.shot_ms if self.shot_ms is not None else ended_ms
        asked_ms = self.asked_ms if self.asked_ms is not None else ended_ms
        return Timings(
            wait_face=shot_ms - self.started_ms,
            hold=asked_ms - shot_ms,
            encode=self.encode_ms,
            sign=answer.sign_ms if answer else 0,
            connect=answer.connect_ms if answer else 0,
            api=answer.api_ms if answer else 0,
            total=ended_ms - self.started_ms,
        )


def reason_of(error: AgentError) -> Reason:
    """The closed list's word for an error: its own code where that is a reason."""
    if isinstance(error, ModelError):
        return Reason.MODEL_UNUSABLE
    if isinstance(error, CameraError):  # why there is no picture is a condition's business
        return Reason.CAMERA_UNAVAILABLE
    return next((reason for reason in Reason if reason.value == error.code), Reason.INTERNAL_ERROR)


class Purse(Protocol):
    """Who says whether one more call may be paid for, and counts it."""

    def may_call(self) -> bool: ...

    def pay(self, crop: Crop) -> None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What one verification uses of the world."""

    clock: Clock
    eye: Eye
    worker: Executor  # the one vision thread
    compare: Compare
    till: Till
    purse: Purse


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
    _shown: Shown = field(default_factory=Shown)
    _story: Story = field(default_factory=Story)

    def post(self, event: Event) -> None:
        self._inbox.put_nowait(event)

    async def run(self) -> Outcome:
        """From begin to Finished. Returns before the core's deadline; never raises for a foreign failure."""
        clock = self.tools.clock
        limits = replace(
            self.limits,
            jitter=random.random(),  # noqa: S311 - spreads load, keeps no secret
            plans=draw(self.limits.turns, secrets.randbelow),
        )
        deadline_ms = self.request.deadline_ms - self.publish_margin_ms
        state: State = begin(deadline_ms, not_before_ms=self.request.received_ms)
        moments = Moments(self.request.received_ms)
        self._story.entered("seeking", 0)
        prepared = asyncio.create_task(self._prepare(), name="prepare")
        try:
            while not isinstance(state, Finished):
                event = await self._next_event(wake_at(state))
                if self.traced:
                    self._events.append(bare(event))
                before = state
                state, effects = advance(state, event, limits)
                await self._note(moments, before, state, event)
                for effect in effects:
                    match effect:
                        case Ask():
                            task = asyncio.create_task(self._ask(effect, prepared, moments), name="ask")
                            self._asks[effect.number] = task
                        case Abandon(number=number):
                            self._asks[number].cancel()
                        case Report():
                            pass  # the caller settles what ``run`` returns
        finally:
            await self._drop_open_work(prepared)
        events = tuple(self._events)
        trace = Trace(deadline_ms, self.request.received_ms, limits, events) if self.traced else None
        return Outcome(state, moments.timings(clock.now_ms(), state), self._story, trace)

    async def _next_event(self, due_ms: int) -> Event:
        left_s = (due_ms - self.tools.clock.now_ms()) / 1e3
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                return await self._inbox.get()
        except TimeoutError:
            return Ticked(max(due_ms, self.tools.clock.now_ms()))

    async def _note(self, moments: Moments, before: State, after: State, event: Event) -> None:
        """Book-keeping and hints: nothing here changes the outcome."""
        now_ms = self.tools.clock.now_ms()
        if isinstance(event, Looked):
            self._story.saw(event.analysis, now_ms - moments.started_ms)
        if isinstance(before, Seeking | Challenging) and isinstance(after, Holding | Comparing):
            moments.shot_ms = now_ms
        if isinstance(event, Looked | Ticked) and not isinstance(after, Finished):
            seen = event.analysis if isinstance(event, Looked) else None
            hint = next_hint(self._shown, seen, now_ms, prompt_of(after))
            if hint is not self._shown and hint.guidance is not None:
                self._shown = hint
                await self.tools.till.tell(Guided(self.request, hint.guidance))
        if type(after) is not type(before) and not isinstance(after, Finished):
            stage = type(after).__name__.lower()
            self._story.entered(stage, now_ms - moments.started_ms)
            await self.tools.till.tell(Staged(self.request, stage))

    async def _prepare(self) -> bool:
        """True when the reference is at hand."""
        now_ms = self.tools.clock.now_ms
        try:
            await self.tools.compare.prepare(self.request)
        except AgentError as error:
            log.info("reference_failed", extra=facts(code=error.code, why=error))
            self.post(Failed(now_ms(), reason_of(error)))
            return False
        except Exception:
            log.exception("bug_in_prepare")
            self.post(Broke(now_ms()))
            return False
        return True

    async def _ask(self, ask: Ask, prepared: asyncio.Task[bool], moments: Moments) -> None:
        now_ms = self.tools.clock.now_ms
        began_ms = now_ms()
        moments.asked_ms = began_ms
        if not self.tools.purse.may_call():
            self.post(AskFailed(began_ms, ask.number, Reason.COST_LIMIT, Retry.NEVER))
            return
        try:
            crop = await asyncio.get_running_loop().run_in_executor(
                self.tools.worker, self.tools.eye.crop, ask.shot
            )
            moments.encode_ms = now_ms() - began_ms
            if not await asyncio.shield(prepared):
                return  # its own event already ends the verification
            left_ms = ask.timeout_ms - (now_ms() - began_ms)
            self.tools.purse.pay(crop)
            answer = await self.tools.compare.ask(self.request, crop, ask.number, max(1, left_ms))
        except CompareError as error:
            log.info(
                "ask_failed", extra=facts(ask=ask.number, code=error.code, api_code=error.api_code, why=error)
            )
            self.post(AskFailed(now_ms(), ask.number, reason_of(error), error.retry, error.api_code))
        except AgentError as error:
            log.warning("ask_failed", extra=facts(ask=ask.number, code=error.code, why=error))
            self.post(AskFailed(now_ms(), ask.number, reason_of(error), error.retry))
        except Exception:
            log.exception("bug_in_ask")
            self.post(Broke(now_ms()))
        else:
            self.post(Answered(now_ms(), ask.number, answer))

    async def _drop_open_work(self, prepared: asyncio.Task[bool]) -> None:
        """Cancel what nobody waits for any more, and wait until it has let go of its connection."""
        tasks = [prepared, *self._asks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
