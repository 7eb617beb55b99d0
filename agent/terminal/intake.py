"""Intake of messages from tills, one at a time. ``core.admission`` decides about each request.

Each request gets an answer: a verification, the stored result again, or one refusal. No answer waits for a
PUBACK here, because the requests of all tills wait behind it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.core.admission import AdmissionFacts, Admit, Ignore, Refuse, SendAgain, admit
from agent.core.model import Request
from agent.core.ports import AcceptedEvent, CancelReceived, Inbound, MessageRefused, RequestReceived
from agent.core.rate import SenderBuckets
from agent.core.reasons import Refusal
from agent.core.verification_types import Cancelled
from agent.errors import StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.log import facts
from agent.terminal.parts import Ports, Settings
from agent.terminal.results import Results
from agent.terminal.verification_runner import OpenVerification

log = logging.getLogger(__name__)

REQUEST_BURST = 20  # for a till that sends its waiting requests after an outage


class Intake:
    """Receives messages from the till port without end.

    Attributes:
        settings: may be replaced; the token buckets of the tills stay.
        open_tasks: the task of the current message, if any. The task continues when ``run`` is cancelled: a
            claim that is being stored becomes durable, and each durable claim needs an answer.
    """

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        *,
        open_verification: OpenVerification,
        results: Results,
        conditions: ConditionTracker,
        accept: Callable[[Request], Awaitable[None]],
    ) -> None:
        """``accept`` claims a request and starts its verification: without a durable claim, no verification.

        Raises ``StorageError``.
        """
        self._ports, self.settings, self._open = ports, settings, open_verification
        self._results, self._conditions, self._accept = results, conditions, accept
        self._senders = SenderBuckets(settings.requests_per_minute, REQUEST_BURST)
        self.open_tasks = set[asyncio.Task[None]]()

    async def run(self) -> None:
        while True:
            inbound = await self._ports.till.receive()
            task = asyncio.create_task(self._answer_message(inbound), name="inbound message")
            self.open_tasks.add(task)
            task.add_done_callback(self.open_tasks.discard)
            await asyncio.shield(task)
            del inbound, task  # a request can hold a photo, and the next message can arrive hours later

    async def _answer_message(self, inbound: Inbound) -> None:
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
            await self._results.refuse(inbound.request.till, inbound.request.request_id, refusal, detail)

    async def _handle(self, inbound: Inbound) -> None:
        match inbound:
            case MessageRefused(till=till, request_id=request_id, refusal=refusal, detail=detail):
                await self._results.refuse(till, request_id, refusal, detail)
            case CancelReceived(till=till, request_id=request_id):
                await self._cancel(till, request_id)
            case RequestReceived(request=request):
                record = await self._ports.claim_store.find(request.till, request.request_id)
                match admit(inbound, record, self._admission_facts(request.till)):
                    case Admit():
                        await self._accept(request)
                    case SendAgain(stored=stored):
                        await self._ports.till.deliver(stored, again=True)
                    case Ignore():
                        if self._open.matching(request.till, request.request_id) is not None:
                            await self._ports.till.publish(AcceptedEvent(request, request.budget_ms))
                        else:  # the result could not be stored
                            await self._results.settle_interrupted(request)
                    case Refuse(refusal=refusal, detail=detail):
                        await self._results.refuse(request.till, request.request_id, refusal, detail)

    def _admission_facts(self, till: str) -> AdmissionFacts:
        return AdmissionFacts(
            epoch=self.settings.epoch,
            now_ms=self._ports.clock.now_ms(),
            is_busy=self._open.current is not None,
            is_stopping=self._open.is_stopping,
            consent_required=self.settings.consent_required,
            inline_reference=self.settings.inline_reference,
            age_required=self.settings.age_required,
            is_rate_allowed=self._senders.take(till, self._ports.clock.now_ms() / 1e3),
        )

    async def _cancel(self, till: str, request_id: str) -> None:
        if (current := self._open.matching(till, request_id)) is not None:
            current.post(Cancelled(self._ports.clock.now_ms()))
            return
        record = await self._ports.claim_store.find(till, request_id)
        if record is not None and record.result is not None:
            await self._ports.till.deliver(record.result, again=True)  # the first stored outcome wins
        else:
            await self._results.refuse(till, request_id, Refusal.UNKNOWN_REQUEST, "nothing to cancel")
