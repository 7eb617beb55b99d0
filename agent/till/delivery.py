"""Publishes stored results: at once, then again with growing pauses until acknowledged or expired.

The bytes are always the same, so that the till recognises a repeat. A match whose time is over is replaced by
the event ``result_expired``, which the till acknowledges with the same id. ``next_step`` is the rule, a pure
function.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Literal

from agent.core.ports import Clock, RefusedEvent, StoredResult
from agent.core.reasons import Refusal
from agent.errors import AgentError, StorageError, TillError
from agent.log import facts
from agent.messages.encode import event
from agent.messages.topics import EVENT, RESULT, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message
from agent.mqtt.publisher import PUBLISH_CUT
from agent.outbox.outbox import Outbox
from agent.till.acknowledgements import Acknowledgements, ReportUnacknowledged
from agent.till.delivery_rules import DeliveryStep, PublishHistory, next_step

log = logging.getLogger(__name__)

TICK_S = 0.5


class ResultSender:
    """The results that are not acknowledged yet. One task, ``run``, publishes due results again.

    Attributes:
        expired_unacked: results without acknowledgement within ``RESEND_FOR_MS``.
        withheld: matches that ``result_expired`` replaced.
    """

    def __init__(
        self,
        connection: Connection,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        *,
        ack: Literal["till", "broker"],
        margin_ms: int,
        on_unacknowledged: ReportUnacknowledged = lambda _active, _tills: None,
    ) -> None:
        self._connection, self._outbox, self._topics = connection, outbox, topics
        self._clock, self._ack, self._margin_ms = clock, ack, margin_ms
        self._open: dict[str, tuple[StoredResult, PublishHistory]] = {}
        self._sending: set[str] = set()
        self._acknowledgements = Acknowledgements(clock, on_unacknowledged)
        self._due = asyncio.Event()  # a till asks for a result again
        self.expired_unacked = 0
        self.withheld = 0

    @property
    def open_count(self) -> int:
        """Number of open results."""
        return len(self._open)

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        """Publish at once. ``run`` repeats until the result is acknowledged or expired.

        ``again``: only make the result due, for ``run``.
        """
        now_ms = self._clock.now_ms()
        delivery = self._open.get(stored.result_id)
        history = PublishHistory(now_ms) if delivery is None else delivery[1].after_request(now_ms)
        self._open[stored.result_id] = (stored, history)
        if again:
            self._due.set()
        else:
            await self._step(stored.result_id)

    async def record_ack(self, till: str, result_id: str) -> None:
        """The till acknowledged a result. An id that is not open or belongs to another till changes nothing.

        A result can be closed in the outbox already: a repeated request publishes an acknowledged one again.
        Raises ``StorageError``: not stored, so only the next process publishes the result again.
        """
        if is_open := result_id in self._open and self._open[result_id][0].till == till:
            del self._open[result_id]
            self._acknowledgements.note_acknowledged(till)
        if await self._outbox.close_result(till, result_id) and not is_open:
            self._open.pop(result_id, None)  # of an earlier process, loaded during the write
            self._acknowledgements.note_acknowledged(till)

    async def run(self) -> None:
        """Publish due results until cancelled, including the open results of earlier processes."""
        loaded = False
        while True:
            loaded = loaded or await self._load_open_results()
            self._due.clear()
            for result_id in list(self._open):
                await self._step(result_id)
            self._acknowledgements.report()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._due.wait()

    async def _load_open_results(self) -> bool:
        """Load the open results of the outbox. False: the outbox cannot be read; retry later."""
        try:
            for stored in await self._outbox.open_results():
                self._open.setdefault(stored.result_id, (stored, PublishHistory(self._clock.now_ms())))
        except StorageError as error:
            log.error("outbox_failed", extra=facts(why=error))
            return False
        return True

    def make_all_due(self) -> None:
        """Make all results due, except a result after which connections end repeatedly."""
        for result_id, (stored, history) in self._open.items():
            self._open[result_id] = (stored, history.after_reconnect())

    async def _step(self, result_id: str) -> None:
        if result_id not in self._open or result_id in self._sending:
            return
        self._sending.add(result_id)
        try:
            await self._take_step(result_id)
        except StorageError as error:
            log.error("outbox_failed", extra=facts(result_id=result_id, why=error))
        except AgentError as error:  # e.g. the till of a damaged row is not an id: no topic exists
            log.error("result_undeliverable", extra=facts(result_id=result_id, why=error))
            self._open.pop(result_id, None)
        except Exception:  # a bug with one result must not end the delivery of all others
            log.exception("bug_in_delivery")
        finally:
            self._sending.discard(result_id)

    async def _take_step(self, result_id: str) -> None:
        try:  # a match must not wait between the check of its deadline and its publish
            await self._connection.wait_until_free()
        except TillError:
            return
        if result_id not in self._open:
            return  # acknowledged during the wait
        (stored, history), now_ms = self._open[result_id], self._clock.now_ms()
        match next_step(stored, history, now_ms, self._margin_ms):
            case DeliveryStep.WAIT:
                return
            case DeliveryStep.SEND:
                left_s = max(1, (stored.deadline_ms - now_ms) // 1000) if stored.is_match else None
                topic = self._topics.verify(stored.till, RESULT)
                await self._send(stored, Message(topic, stored.payload, expires_in_s=left_s), history)
            case DeliveryStep.NOTIFY:
                if not history.is_expired:
                    self.withheld += 1
                    history = history.after_expiry()
                    self._open[stored.result_id] = (stored, history)
                await self._send(stored, _expired(stored, self._topics), history)
            case DeliveryStep.EXPIRE:
                self.expired_unacked += 1
                self._open.pop(stored.result_id, None)
                log.warning("result_expired_unacked", extra=facts(result_id=result_id, till=stored.till))
                await self._outbox.close_result(stored.till, stored.result_id)

    async def _send(self, stored: StoredResult, message: Message, history: PublishHistory) -> None:
        if not self._connection.is_connected:
            return
        now_ms, cut = self._clock.now_ms(), False
        delivered: bool | None = None  # not accepted by the broker
        try:
            delivered = await self._connection.publish(message)
        except TillError as error:
            log.warning("result_not_delivered", extra=facts(result_id=stored.result_id, why=error))
            cut = error.code == PUBLISH_CUT
        if stored.result_id not in self._open:
            return  # the acknowledgement of the till arrived before the PUBACK
        if delivered and self._ack == "broker":
            await self.record_ack(stored.till, stored.result_id)
            return
        after = self._open[stored.result_id][1]
        if after is history or cut:  # otherwise the till asked again meanwhile: the result stays due
            after = after.after_publish(now_ms, is_accepted=delivered is not None, cut=cut)
        self._open[stored.result_id] = (stored, self._acknowledgements.note_published(stored.till, after))


def _expired(stored: StoredResult, topics: Topics) -> Message:
    reason = (Refusal.RESULT_EXPIRED, "a match came too late", stored.result_id)
    till, payload = event(RefusedEvent(stored.till, stored.request_id, *reason))
    return Message(topics.verify(till, EVENT), payload)
