"""Who gets a diagnosis, and when: payments come first, and nobody can make the doctor run all day.

What is unsigned, wrongly signed, meant for another terminal, retained, too large, sent twice or one too many
gets no answer at all: an answer would be work that a stranger ordered. A trusted operator who comes too early
or too soon is told so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from agent.core.ports import Clock
from agent.core.rate import Senders
from agent.errors import AgentError, TillError
from agent.log import facts
from agent.messages.diagnosis import (
    REPORT_MAX_BYTES,
    REQUEST_MAX_BYTES,
    Declined,
    DiagRequest,
    read_diag,
    report,
)
from agent.messages.fields import Rejected
from agent.messages.keyring import Keyring
from agent.messages.topics import REPORT
from agent.mqtt.paho_client import Message
from agent.tasks import Background
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)

LOOKED_AT_PER_MINUTE = 6  # of one operator; a signature is judged for no more than these
PAUSE_MS = 20_000  # from one examination to the next, whoever asks

# ids of checks, all for none → the doctor's document; raises AgentError (check_unknown)
Examine = Callable[[tuple[str, ...]], Awaitable[dict[str, Any]]]


class RemoteDiagnosis:
    """Belongs to the loop. ``arrived`` is quick; the examination is somebody else's thread."""

    def __init__(
        self,
        till: MqttTill,
        operators: Keyring,
        clock: Clock,
        examine: Examine,
        serves: Callable[[], bool],
        background: Background,
    ) -> None:
        """``serves``: whether a payer is being served; then the doctor waits."""
        self._till = till
        self._operators = operators
        self._clock = clock
        self._examine = examine
        self._serves = serves
        self._looked_at = Senders(LOOKED_AT_PER_MINUTE, LOOKED_AT_PER_MINUTE)
        self._newest = dict[str, int]()  # per trusted operator: when its last request was issued
        self._began_ms: int | None = None
        self._running = False
        self._background = background
        self.ignored = 0

    async def run(self) -> None:
        """Handle what arrives for operators, until cancelled."""
        while True:
            self.arrived(*await self._till.diag_inbox.get())

    def arrived(self, operator: str, message: Message) -> None:
        """A message on an operator's topic; hostile until its signature is judged."""
        asked = self._believed(operator, message)
        if asked is None:
            self.ignored += 1
            return
        self._newest[operator] = asked.issued_unix_ms
        declined = self._objection(asked)
        if declined is None:
            self._running, self._began_ms = True, self._clock.now_ms()
            log.info("diag_began", extra=facts(operator=operator, request_id=asked.request_id))
            self._background.add(self._run(asked))
        else:
            self._background.add(self._answer(asked, None, declined))

    def _believed(self, operator: str, message: Message) -> DiagRequest | None:
        """In the order of what it costs."""
        if (
            message.retained
            or len(message.payload) > REQUEST_MAX_BYTES
            or not self._operators.knows(operator)
        ):
            return None
        if not self._looked_at.take(operator, self._clock.now_ms() / 1e3):
            return None
        try:
            asked = read_diag(message.payload, self._till.topics, operator, self._operators)
        except Rejected as error:
            log.warning(
                "diag_ignored", extra=facts(operator=operator, refusal=error.refusal, why=error.detail)
            )
            return None
        if asked.issued_unix_ms <= self._newest.get(operator, -1):
            log.warning("diag_ignored", extra=facts(operator=operator, why="it was here before"))
            return None
        return asked

    def _objection(self, asked: DiagRequest) -> Declined | None:
        if asked.epoch != self._till.who.epoch:
            return "request_stale"
        if self._running or self._serves():
            return "busy"
        if self._began_ms is not None and self._clock.now_ms() - self._began_ms < PAUSE_MS:
            return "rate_limited"
        return None

    async def _run(self, asked: DiagRequest) -> None:
        try:
            doctor = await self._examine(asked.only)
        except AgentError as error:
            log.info("diag_declined", extra=facts(code=error.code))
            await self._answer(asked, None, "check_unknown")
        else:
            await self._answer(asked, doctor, None)
        finally:
            self._running = False

    async def _answer(
        self, asked: DiagRequest, doctor: dict[str, Any] | None, declined: Declined | None
    ) -> None:
        till = self._till
        payload = till.signed(REPORT, report(asked, till.who, doctor, declined))
        if len(payload) > REPORT_MAX_BYTES:
            payload = till.signed(REPORT, report(asked, till.who, None, "report_too_large"))
        try:
            await till.link.publish(Message(till.topics.diag(asked.operator, REPORT), payload))
        except TillError as error:
            log.warning("report_not_sent", extra=facts(operator=asked.operator, code=error.code))
