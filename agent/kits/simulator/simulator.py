"""A simulated terminal that answers requests by a script, for till developers.

Decoding and admission are the agent's code; the answer to a request is a ``ScriptStep``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.core.admission import AdmissionFacts, Admit, Ignore, Refuse, SendAgain, admit
from agent.core.model import Request
from agent.core.ports import (
    AcceptedEvent,
    CancelReceived,
    Inbound,
    MessageRefused,
    RefusedEvent,
    RequestReceived,
)
from agent.core.reasons import Refusal
from agent.errors import AgentError
from agent.kits.simulator.behaviour import perform
from agent.kits.simulator.script import ScriptStep, SimulatedFault
from agent.kits.simulator.terminal import SimulatedTerminal, SimulatorSetup
from agent.log import facts
from agent.tasks import end_tasks
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    request: Request
    cancelled: asyncio.Event
    task: asyncio.Task[None]


class Simulator:
    """``start``, serve requests, ``stop``. ``next_step``: the answer to a request; None: not ready."""

    def __init__(
        self,
        setup: SimulatorSetup,
        next_step: Callable[[Request], ScriptStep | None],
        before_answer: Callable[[Request, SimulatedFault], Awaitable[None]] = lambda *_: asyncio.sleep(0),
    ) -> None:
        """``before_answer``: awaited with the request and the fault just before an answer is sent.

        Raises ``ConfigError``: the broker is not on loopback.
        """
        self.terminal = SimulatedTerminal(setup, self._serve, before_answer)
        self._next_step = next_step
        self._open: _Open | None = None

    async def start(self) -> None:
        await self.terminal.start()

    async def stop(self) -> None:
        """Publish ``offline``. Safe to call twice."""
        if self._open is not None:
            await end_tasks(self._open.task)
        await self.terminal.stop()

    async def wait_until_idle(self) -> None:
        """Wait until no request is open."""
        while self._open is not None:
            await asyncio.wait([self._open.task])

    async def _serve(self, till: MqttTill) -> None:
        while True:
            inbound = await till.receive()
            try:
                await self._handle(inbound)
            except AgentError as error:
                log.error("simulator_failed", extra=facts(code=error.code, why=error))

    async def _handle(self, inbound: Inbound) -> None:
        match inbound:
            case MessageRefused(till=till, request_id=request_id, refusal=refusal, detail=detail):
                await self.terminal.till.publish(RefusedEvent(till, request_id, refusal, detail))
            case CancelReceived(till=till, request_id=request_id):
                await self._cancel(till, request_id)
            case RequestReceived(request=request):
                known = await self.terminal.outbox.find(request.till, request.request_id)
                epoch, now_ms = self.terminal.identity.epoch, self.terminal.clock.now_ms()
                admission_facts = AdmissionFacts(
                    epoch, now_ms, is_busy=self._open is not None, age_required=True
                )
                match admit(inbound, known, admission_facts):
                    case Admit():
                        await self._admitted(request)
                    case SendAgain(stored=stored):
                        await self.terminal.send(stored.till, stored.payload)
                    case Ignore():
                        await self.terminal.till.publish(AcceptedEvent(request, request.budget_ms))
                    case Refuse(refusal=refusal, detail=detail):
                        await self.terminal.refuse(request, refusal, detail)

    async def _admitted(self, request: Request) -> None:
        step = self._next_step(request)
        if step is None:
            await self.terminal.refuse(request, Refusal.NOT_READY, "the script has no answer now")
            return
        if step.fault is SimulatedFault.BUSY:
            await self.terminal.refuse(request, Refusal.BUSY, "another verification is running")
            return
        cancelled = asyncio.Event()
        task = asyncio.create_task(self._answer(request, step, cancelled))
        self._open = _Open(request, cancelled, task)

    async def _answer(self, request: Request, step: ScriptStep, cancelled: asyncio.Event) -> None:
        try:
            await self.terminal.outbox.claim(request)
            if step.fault is SimulatedFault.LATE:  # finds a till that starts its timer at this event
                await asyncio.sleep(request.ttl_ms / 4e3)
            await self.terminal.till.publish(AcceptedEvent(request, request.budget_ms))
            await perform(self.terminal, request, step, cancelled)
        except AgentError as error:
            log.error("simulator_failed", extra=facts(code=error.code, why=error))
        finally:
            self._open = None

    async def _cancel(self, till: str, request_id: str) -> None:
        current = self._open
        if current is not None and (current.request.till, current.request.request_id) == (till, request_id):
            current.cancelled.set()
            return
        known = await self.terminal.outbox.find(till, request_id)
        if known is not None and known.result is not None:
            await self.terminal.send(till, known.result.payload)
        else:
            detail = "nothing to cancel"
            await self.terminal.till.publish(RefusedEvent(till, request_id, Refusal.UNKNOWN_REQUEST, detail))
