"""Remote diagnosis: verifies requests of operators, runs the doctor, publishes the signed report.

Payments have priority, and the number of doctor runs is limited. A message gets no answer if it is unsigned,
wrongly signed, for another terminal, retained, too large, repeated, or beyond the rate limit: an answer would
be work for an untrusted sender. A trusted operator gets a signed report with the reason when the doctor does
not run.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from agent.core.ports import Clock
from agent.core.rate import SenderBuckets
from agent.errors import AgentError, TillError
from agent.log import facts
from agent.messages import diagnosis
from agent.messages.diagnosis import Declined, DiagRequest
from agent.messages.encode import envelope
from agent.messages.fields import Rejected
from agent.messages.keyring import Keyring
from agent.messages.topics import REPORT
from agent.mqtt.paho_client import Message
from agent.tasks import Background
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)

VERIFIED_PER_MINUTE = 6  # signatures of one operator that are verified
PAUSE_MS = 20_000  # from one doctor run to the next, for all operators together

# ids of checks (empty: all) → the doctor's document; raises AgentError (check_unknown)
RunDoctor = Callable[[tuple[str, ...]], Awaitable[dict[str, Any]]]


class RemoteDiagnosis:
    """For the event loop only. ``handle`` does not block; ``run_doctor`` runs in another thread.

    Attributes:
        ignored: messages without an answer.
    """

    def __init__(
        self,
        till: MqttTill,
        operators: Keyring,
        clock: Clock,
        run_doctor: RunDoctor,
        is_busy: Callable[[], bool],
        background: Background,
    ) -> None:
        """``is_busy``: whether a verification runs; the doctor does not run then."""
        self._till, self._operators, self._clock = till, operators, clock
        self._run_doctor, self._is_busy = run_doctor, is_busy
        self._verified = SenderBuckets(VERIFIED_PER_MINUTE, VERIFIED_PER_MINUTE)
        self._newest = dict[str, int]()  # operator → ``issued_unix_ms`` of the last accepted request
        self._began_ms: int | None = None
        self._running = False
        self._background = background
        self.ignored = 0

    async def run(self) -> None:
        """Handle messages of operators until cancelled."""
        while True:
            self.handle(*await self._till.diag_inbox.get())

    def handle(self, operator: str, message: Message) -> None:
        """A message on the topic of an operator; hostile until its signature is verified."""
        request = self._verify(operator, message)
        if request is None:
            self.ignored += 1
            return
        self._newest[operator] = request.issued_unix_ms
        declined = self._decline_reason(request)
        if declined is None:
            self._running, self._began_ms = True, self._clock.now_ms()
            log.info("diag_started", extra=facts(operator=operator, request_id=request.request_id))
            self._background.add(self._run(request))
        else:
            self._background.add(self._answer(request, None, declined))

    def _verify(self, operator: str, message: Message) -> DiagRequest | None:
        """The request; None: to be ignored. The cheapest checks run first."""
        if message.retained or len(message.payload) > diagnosis.REQUEST_MAX_BYTES:
            return None
        now_s = self._clock.now_ms() / 1e3
        if not self._operators.has_key(operator) or not self._verified.take(operator, now_s):
            return None
        try:
            request = diagnosis.read_diag(message.payload, self._till.topics, operator, self._operators)
        except Rejected as error:
            details = facts(operator=operator, refusal=error.refusal, why=error.detail)
            log.warning("diag_ignored", extra=details)
            return None
        if request.issued_unix_ms <= self._newest.get(operator, -1):
            log.warning("diag_ignored", extra=facts(operator=operator, why="repeated request"))
            return None
        return request

    def _decline_reason(self, request: DiagRequest) -> Declined | None:
        if request.epoch != self._till.identity.epoch:
            return "request_stale"
        if self._running or self._is_busy():
            return "busy"
        if self._began_ms is not None and self._clock.now_ms() - self._began_ms < PAUSE_MS:
            return "rate_limited"
        return None

    async def _run(self, request: DiagRequest) -> None:
        try:
            doctor = await self._run_doctor(request.only)
        except AgentError as error:
            log.info("diag_declined", extra=facts(code=error.code))
            await self._answer(request, None, "check_unknown")
        else:
            await self._answer(request, doctor, None)
        finally:
            self._running = False

    async def _answer(
        self, request: DiagRequest, doctor: dict[str, Any] | None, declined: Declined | None
    ) -> None:
        till = self._till
        payload = envelope(REPORT, diagnosis.report(request, till.identity, doctor, declined), till.signer)
        if len(payload) > diagnosis.REPORT_MAX_BYTES:
            too_large = diagnosis.report(request, till.identity, None, "report_too_large")
            payload = envelope(REPORT, too_large, till.signer)
        try:
            await till.connection.publish(Message(till.topics.diag(request.operator, REPORT), payload))
        except TillError as error:
            log.warning("report_not_sent", extra=facts(operator=request.operator, code=error.code))
