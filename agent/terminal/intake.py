"""Intake of messages from tills, one at a time. ``core.admission`` decides about each request.

Each request gets an answer: a verification, the stored result again, or one refusal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.core.admission import Admit, Ignore, Refuse, Replay, Situation, admit
from agent.core.model import Request, Result
from agent.core.ports import (
    Accepted,
    CancelReceived,
    Inbound,
    Refused,
    RefusedEvent,
    RequestReceived,
)
from agent.core.rate import Senders
from agent.core.reasons import Refusal
from agent.core.steps import Cancelled
from agent.errors import StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.health.counters import Counters
from agent.log import facts
from agent.terminal.parts import Ports, Settings
from agent.terminal.slot import Slot

log = logging.getLogger(__name__)

REQUEST_BURST = 20  # for a till that sends its waiting requests after an outage


Handle = Callable[[Request], Awaitable[None]]


class Intake:
    """Receives messages from the till port without end.

    Attributes:
        open_tasks: the task of the current message, if any. The task continues when ``run`` is cancelled: a
            claim that is being stored becomes durable, and each durable claim needs an answer.
    """

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        report: tuple[Counters, ConditionTracker],
        *,
        slot: Slot,
        accept: Handle,
        abandon: Handle,
    ) -> None:
        """Both callables raise ``StorageError``.

        ``accept`` claims a request and starts its verification: without a durable claim, no verification.
        ``abandon`` settles a claim without an open verification as interrupted, and delivers the result.
        """
        self._ports = ports
        self._settings = settings
        self._counters, self._conditions = report
        self._slot = slot
        self._accept = accept
        self._abandon = abandon
        self._senders = Senders(settings.requests_per_minute, REQUEST_BURST)
        self.open_tasks = set[asyncio.Task[None]]()

    def use(self, settings: Settings) -> None:
        """Replace the settings. The token buckets of the tills stay."""
        self._settings = settings

    async def run(self) -> None:
        while True:
            inbound = await self._ports.till.receive()
            task = asyncio.create_task(self._answer(inbound), name="inbound message")
            self.open_tasks.add(task)
            task.add_done_callback(self.open_tasks.discard)
            await asyncio.shield(task)
            del inbound, task  # a request can hold a photo, and the next message can arrive hours later

    async def _answer(self, inbound: Inbound) -> None:
        try:
            await self._handle(inbound)
        except StorageError as error:
            log.error("storage_failed", extra=facts(why=error))
            self._conditions.raise_(STORAGE_UNAVAILABLE)
            await self._refuse_request(inbound, Refusal.STORAGE_UNAVAILABLE, str(error))
        except Exception:
            log.exception("bug_in_inbound")
            await self._refuse_request(inbound, Refusal.NOT_READY, "internal error, see the terminal's log")

    async def _refuse_request(self, inbound: Inbound, refusal: Refusal, detail: str) -> None:
        """Refuse a request that failed, so that the till does not wait for an answer."""
        if isinstance(inbound, RequestReceived):
            await self.refuse(inbound.request.till, inbound.request.request_id, refusal, detail)

    async def _handle(self, inbound: Inbound) -> None:
        match inbound:
            case Refused(till=till, request_id=request_id, refusal=refusal, detail=detail):
                await self.refuse(till, request_id, refusal, detail)
            case CancelReceived(till=till, request_id=request_id):
                await self._cancel(till, request_id)
            case RequestReceived(request=request):
                known = await self._ports.ledger.find(request.till, request.request_id)
                match admit(inbound, known, self._situation(request.till)):
                    case Admit():
                        await self._accept(request)
                    case Replay(stored=stored):
                        await self._ports.till.deliver(stored)
                    case Ignore():
                        await self._repeated(request)
                    case Refuse(refusal=refusal, detail=detail):
                        await self.refuse(request.till, request.request_id, refusal, detail)

    async def _repeated(self, request: Request) -> None:
        """Answer a repeat of a claimed request without a result.

        Either its verification is running, or its result could not be stored.
        """
        current = self._slot.current
        key = (request.till, request.request_id)
        if current is not None and (current.request.till, current.request.request_id) == key:
            await self._ports.till.tell(Accepted(request, request.budget_ms))
        else:
            await self._abandon(request)

    def _situation(self, till: str) -> Situation:
        return Situation(
            epoch=self._settings.epoch,
            now_ms=self._ports.clock.now_ms(),
            busy=self._slot.current is not None,
            stopping=self._slot.stopping,
            consent_required=self._settings.consent_required,
            inline_reference=self._settings.inline_reference,
            age_required=self._settings.age_required,
            rate_ok=self._senders.take(till, self._ports.clock.now_ms() / 1e3),
        )

    async def refuse(
        self, till: str, request_id: str | None, refusal: Refusal, detail: str, asks: int | None = None
    ) -> None:
        """``asks``: API calls made for a request that was accepted and whose result could not be stored."""
        self._counters.refusals[refusal] += 1
        log.info("refused", extra=facts(till=till, request_id=request_id, refusal=refusal, detail=detail))
        await self._ports.till.tell(RefusedEvent(till, request_id, refusal, detail, asks=asks))

    async def not_stored(self, result: Result, error: StorageError) -> None:
        """Refuse an accepted request whose result could not be stored, with the number of its API calls.

        The claim is durable: a repeat of the request, or a restart, settles the claim as ``interrupted``. A
        decision that is not stored is not published, because a crash could change the decision.
        """
        request, asks = result.request, result.asks
        log.error("result_not_stored", extra=facts(request_id=request.request_id, asks=asks, why=error))
        self._conditions.raise_(STORAGE_UNAVAILABLE)
        detail = f"ended undecided: the result could not be stored; {asks} API calls were made; {error}"
        await self.refuse(request.till, request.request_id, Refusal.STORAGE_UNAVAILABLE, detail, asks=asks)

    async def _cancel(self, till: str, request_id: str) -> None:
        current = self._slot.current
        if current is not None and (current.request.till, current.request.request_id) == (till, request_id):
            current.post(Cancelled(self._ports.clock.now_ms()))
            return
        known = await self._ports.ledger.find(till, request_id)
        if known is not None and known.result is not None:
            await self._ports.till.deliver(known.result)  # the first stored outcome wins
        else:
            await self.refuse(till, request_id, Refusal.UNKNOWN_REQUEST, "nothing to cancel")
