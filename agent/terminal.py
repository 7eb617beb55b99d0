"""The terminal's life: takes requests one at a time, runs each one's verification, settles its result.

Three loops on one asyncio loop: inbound messages, frames, and the verification that is open. What to do with
a request is decided in ``core.admission``; what happens inside a verification in ``core.verification``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agent.core.admission import Admit, Ignore, Refuse, Replay, Situation, admit
from agent.core.model import Assurance, CameraHealth, Frame, Request, Result
from agent.core.ports import (
    Accepted,
    Asked,
    Camera,
    CancelAsked,
    Clock,
    Compare,
    Eye,
    Inbound,
    Ledger,
    Refused,
    RefusedEvent,
    Till,
)
from agent.core.reasons import Decision, Reason, Refusal
from agent.core.steps import Cancelled, Failed, Interrupted, Limits
from agent.errors import StorageError
from agent.frames import FrameLoop
from agent.health.counters import Counters
from agent.health.tracker import COMPARE, Tracker
from agent.log import facts
from agent.runtime import Outcome, Tools, Verification

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as the composition root wired it."""

    clock: Clock
    camera: Camera
    eye: Eye
    compare: Compare
    till: Till
    ledger: Ledger
    glance: Callable[[Frame], CameraHealth]  # one cheap look at an idle frame


@dataclass(frozen=True, slots=True)
class Settings:
    """What the terminal needs of the config, and of this process."""

    epoch: str
    limits: Limits
    publish_margin_ms: int
    assurance: Assurance
    consent_required: bool = False
    inline_reference: bool = True
    assurances: frozenset[str] = frozenset()  # what a request may ``require`` of this terminal


class Terminal:
    """Serves requests until told to stop. Whoever shows ``counters`` and ``conditions`` reads them here."""

    def __init__(self, ports: Ports, settings: Settings, conditions: Tracker | None = None) -> None:
        self.counters = Counters()
        self.conditions = conditions or Tracker()
        self._ports = ports
        self._settings = settings
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vision")
        self._open: Verification | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._frames = FrameLoop(
            ports.clock,
            ports.camera,
            ports.eye,
            ports.glance,
            worker=self._worker,
            report=(self.counters, self.conditions),
            current=lambda: self._open,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; an open verification then ends as ``interrupted`` and is delivered."""
        loops = [
            asyncio.create_task(self._serve_inbound(), name="inbound"),
            asyncio.create_task(self._frames.run(), name="frames"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
        self._stopping = True
        if self._open is not None:
            self._open.post(Interrupted(self._ports.clock.now_ms()))
        if self._running:
            await asyncio.wait(self._running)
        for task in (*loops, stopped):
            task.cancel()
        await asyncio.gather(*loops, stopped, return_exceptions=True)
        self._worker.shutdown(wait=False, cancel_futures=True)
        for task in done:
            task.result()  # a loop that ended by itself ended by a bug: let it be seen

    # --- requests -------------------------------------------------------------------------------

    async def _serve_inbound(self) -> None:
        while True:
            inbound = await self._ports.till.receive()
            try:
                await self._handle(inbound)
            except StorageError as error:
                log.error("storage_failed", extra=facts(why=error))
                self.conditions.raise_("storage_unavailable")
                if isinstance(inbound, Asked):
                    request = inbound.request
                    await self._refuse(
                        request.till, request.request_id, Refusal.STORAGE_UNAVAILABLE, str(error)
                    )
            except Exception:
                log.exception("bug_in_inbound")

    async def _handle(self, inbound: Inbound) -> None:
        match inbound:
            case Refused(till=till, request_id=request_id, refusal=refusal, detail=detail):
                await self._refuse(till, request_id, refusal, detail)
            case CancelAsked(till=till, request_id=request_id):
                await self._cancel(till, request_id)
            case Asked(request=request):
                known = await self._ports.ledger.find(request.till, request.request_id)
                match admit(inbound, known, self._situation()):
                    case Admit():
                        await self._accept(request)
                    case Replay(stored=stored):
                        await self._ports.till.deliver(stored)
                    case Ignore():
                        await self._ports.till.tell(Accepted(request, request.budget_ms))
                    case Refuse(refusal=refusal, detail=detail):
                        await self._refuse(request.till, request.request_id, refusal, detail)

    def _situation(self) -> Situation:
        return Situation(
            epoch=self._settings.epoch,
            now_ms=self._ports.clock.now_ms(),
            busy=self._open is not None,
            stopping=self._stopping,
            consent_required=self._settings.consent_required,
            inline_reference=self._settings.inline_reference,
        )

    async def _refuse(self, till: str, request_id: str | None, refusal: Refusal, detail: str) -> None:
        self.counters.refusals[refusal] += 1
        log.info("refused", extra=facts(till=till, request_id=request_id, refusal=refusal, detail=detail))
        await self._ports.till.tell(RefusedEvent(till, request_id, refusal, detail))

    async def _cancel(self, till: str, request_id: str) -> None:
        if self._open is not None and self._is(self._open.request, till, request_id):
            self._open.post(Cancelled(self._ports.clock.now_ms()))
            return
        known = await self._ports.ledger.find(till, request_id)
        if known is not None and known.result is not None:
            await self._ports.till.deliver(known.result)  # the first stored outcome wins
        else:
            await self._refuse(till, request_id, Refusal.UNKNOWN_REQUEST, "nothing to cancel")

    @staticmethod
    def _is(request: Request, till: str, request_id: str) -> bool:
        return (request.till, request.request_id) == (till, request_id)

    async def _accept(self, request: Request) -> None:
        await self._ports.ledger.claim(request)  # durable before anything is paid for
        self.conditions.clear("storage_unavailable")
        ports = self._ports
        tools = Tools(ports.clock, ports.eye, self._worker, ports.compare, ports.till)
        verification = Verification(
            request, tools, self._settings.limits, self._settings.publish_margin_ms, self._count_call
        )
        if not set(request.require) <= self._settings.assurances:
            verification.post(Failed(ports.clock.now_ms(), Reason.ASSURANCE_UNMET))
        self._worker.submit(ports.eye.begin, ports.clock.now_ms())
        self._open = verification
        await ports.till.tell(Accepted(request, request.budget_ms))
        task = asyncio.create_task(self._verify(verification), name="verification")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _count_call(self) -> None:
        self.counters.calls += 1

    async def _verify(self, verification: Verification) -> None:
        request = verification.request
        try:
            outcome = await verification.run()
            result = _result(request, outcome, self._settings.assurance)
            stored = await self._ports.ledger.settle(result)
        except StorageError as error:
            # The claim is durable: after a restart it becomes ``interrupted``. Nothing unsaved is published.
            log.error("result_not_stored", extra=facts(request_id=request.request_id, why=error))
            self.conditions.raise_("storage_unavailable")
            await self._refuse(request.till, request.request_id, Refusal.STORAGE_UNAVAILABLE, str(error))
            return
        finally:
            self._open = None
        _count(result, self.counters, self.conditions)
        await self._ports.till.deliver(stored)


def _result(request: Request, outcome: Outcome, assurance: Assurance) -> Result:
    done = outcome.finished
    return Result(
        request=request,
        decision=done.decision,
        reason=done.reason,
        asks=done.asks,
        comparison=done.comparison,
        timings=outcome.timings,
        assurance=assurance,
        api_code=done.api_code,
    )


def _count(result: Result, counters: Counters, conditions: Tracker) -> None:
    """Add a settled result to the counters; what it says about the terminal becomes a condition."""
    counters.results[f"{result.decision}/{result.reason}"] += 1
    counters.recent.append(result)
    if result.decision is Decision.UNDECIDED:
        conditions.raise_(result.reason)
    if result.comparison is not None:
        conditions.clear(*COMPARE)
    log.info(
        "result",
        extra=facts(
            request_id=result.request.request_id,
            decision=result.decision,
            reason=result.reason,
            asks=result.asks,
            total_ms=result.timings.total,
        ),
    )
