"""The terminal's side of the till contract, over MQTT. Implements ``core.ports.Till``.

Inbound: parsed here, judged in ``core.admission``. Outbound: events are best effort, results go through the
courier. Only ``state`` is ever retained; its last will says ``offline``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.config import MqttConfig
from agent.core.ports import Clock, Inbound, StoredResult, TillEvent
from agent.errors import StorageError, TillError
from agent.log import facts
from agent.messages.decode import DecodeRules
from agent.messages.encode import TerminalIdentity, envelope, event, health, state
from agent.messages.topics import ACK, CANCEL, EVENT, REQUEST, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring
from agent.mqtt.reason_codes import BrokerProblem
from agent.mqtt.status import Tell
from agent.outbox.outbox import Outbox
from agent.tasks import Background
from agent.till.clone_detection import is_another
from agent.till.delivery import ResultSender
from agent.till.gate import Gate
from agent.till.inbound import TillMessages
from agent.till.state_keeper import StateKeeper

log = logging.getLogger(__name__)

DIAG_INBOX_MAX = 10  # messages of operators, before any signature is checked; more are dropped
PRUNE_EVERY_S = 3_600.0


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What ``state`` says beyond who we are. ``conditions`` are codes, newest last."""

    status: Callable[[], str]  # online or degraded
    more: Callable[[], dict[str, Any]]
    on_trouble: Tell = lambda _trouble, _there, _detail: None
    signed: Callable[[str, dict[str, Any]], bytes] = lambda kind, tree: envelope(kind, tree, None)
    fingerprints: tuple[str, ...] = ()  # of our keys: in use, and before the last rotation


class MqttTill:
    """Build, ``start``, hand to the terminal as its ``Till``, ``stop``."""

    def __init__(
        self,
        config: MqttConfig,
        who: TerminalIdentity,
        rules: DecodeRules,
        outbox: Outbox,
        clock: Clock,
        *,
        margin_ms: int,
        state_facts: StateFacts,
    ) -> None:
        self.topics = Topics(who.site, who.terminal)
        self.who = who
        self._rules = rules
        self._outbox = outbox
        self._clock = clock
        self._state = state_facts
        self._background = Background()
        self._goodbye = ""  # stopping or offline; once said, nothing that changes takes it back
        self.hears_operators = rules.diag
        self.diag_inbox: asyncio.Queue[tuple[str, Message]] = asyncio.Queue(DIAG_INBOX_MAX)
        self.signed = state_facts.signed
        knows = rules.trust.knows if rules.trust is not None else lambda _till: False
        self._gate = Gate(self.topics, lambda: clock.now_ms() / 1e3, config.requests_per_minute, knows)
        self._keeper = StateKeeper(lambda: clock.now_ms() / 1e3, self._is_foreign, self._repair_state)
        self.link = Connection(config, self._wiring())
        self.courier = ResultSender(
            self.link, outbox, self.topics, clock, ack=config.ack, margin_ms=margin_ms
        )
        acknowledged = self._acknowledged
        self._messages = TillMessages(rules, clock, self._gate, self._background, acknowledged)

    async def start(self) -> None:
        """Connect in the background. Raises ``ConfigError`` for unusable certificate files."""
        await self.link.start()
        self._background.add(self.courier.run())
        self._background.add(_prune(self._outbox, self.who.epoch))

    async def stop(self) -> None:
        """Say ``offline`` (a clean goodbye sends no will), then disconnect. At most 4 s. Twice is fine."""
        self._keeper.close()
        await self.announce("offline")
        await self._background.close()
        await self.link.stop()

    async def announce(self, goodbye: str = "") -> None:
        """Publish the retained ``state`` again, because something in it changed.

        ``goodbye``: ``stopping``, then ``offline``. A condition that changes afterwards, or a reconnect, must
        not call a terminal ``online`` that is not going to answer.
        """
        if self._goodbye != "offline":  # the very last word
            self._goodbye = goodbye or self._goodbye
        await self._publish_state(self._goodbye or self._state.status())

    @property
    def dropped(self) -> int:
        """Messages of tills and operators that were not handled, because there were too many."""
        return self._gate.dropped + self.link.dropped + self._messages.inbox.dropped

    @property
    def numbers(self) -> dict[str, int]:
        """What is on its way, and what never arrived."""
        return {
            "unacknowledged": self.courier.depth,
            "expired_unacknowledged": self.courier.expired_unacked,
            "withheld": self.courier.withheld,
            "inbound_dropped": self.dropped,
        }

    async def report(self, more: dict[str, Any]) -> None:
        """Publish ``health`` once, best effort, with what is on its way added."""
        try:
            payload = health(self.who, more | {"till": self.numbers})
            await self.link.publish(Message(self.topics.health, payload), qos=0)
        except TillError as error:
            log.debug("health_not_sent", extra=facts(code=error.code))

    # --- core.ports.Till --------------------------------------------------------------------------

    async def receive(self) -> Inbound:
        return await self._messages.inbox.get()

    async def tell(self, value: TillEvent) -> None:
        till, payload = event(value)
        try:
            await self.link.publish(Message(self.topics.verify(till, EVENT), payload), qos=0)
        except TillError as error:
            log.debug("event_not_sent", extra=facts(code=error.code))  # no outcome hangs on an event

    async def deliver(self, stored: StoredResult) -> None:
        await self.courier.deliver(stored)

    # --- news from the link -----------------------------------------------------------------------

    def _wiring(self) -> Wiring:
        topics = self.topics
        will = Message(topics.state, state("offline", self.who), retained=True)
        client_id, filters = f"facepay-{self.who.site}-{self.who.terminal}", _filters(topics, self._rules)
        trouble, may_fail = self._state.on_trouble, frozenset({topics.state})
        handlers = self._arrived, self._link_is_up
        return Wiring(client_id, filters, *handlers, will, trouble, may_fail, self._gate.admits)

    def _link_is_up(self) -> None:
        if self._goodbye != "offline":
            self.courier.link_is_up()
            self._background.add(self.announce())

    def _arrived(self, message: Message) -> None:
        if message.topic == self.topics.state:
            if self._is_foreign(message.payload):
                self._state.on_trouble(BrokerProblem.CLONED, True, "")
            self._keeper.seen(message.payload)
            return
        operator = self.topics.asks_for_diag(message.topic)
        if operator is not None and not self.diag_inbox.full():
            self.diag_inbox.put_nowait((operator, message))
        place = self.topics.read(message.topic)
        if place is not None:
            self._messages.arrived(*place, message)

    async def _acknowledged(self, till: str, result_id: str) -> None:
        await self.courier.acknowledged(till, result_id)  # looked up each time: tests replace it

    # --- state ------------------------------------------------------------------------------------

    def _is_foreign(self, payload: bytes) -> bool:
        return is_another(payload, self.who, self._state.fingerprints)

    def _repair_state(self) -> None:
        if self.link.connected and not self._goodbye:
            self._background.add(self.announce())

    async def _publish_state(self, status: str) -> None:
        payload = state(status, self.who, self._state.more())
        self._keeper.published(payload)
        try:
            async with asyncio.timeout(2.0):
                await self.link.publish(Message(self.topics.state, payload, retained=True))
        except (TillError, TimeoutError) as error:
            log.info("state_not_published", extra=facts(status=status, why=error))


def _filters(topics: Topics, rules: DecodeRules) -> list[tuple[str, int]]:
    """What tills and operators say; and our own state, to see whether another speaks under our name."""
    inbound = [topics.from_every_till(kind) for kind in (REQUEST, CANCEL, ACK)]
    inbound += [topics.state, *([topics.from_every_operator()] * rules.diag)]
    return [(each, 1) for each in inbound]


async def _prune(outbox: Outbox, epoch: str) -> None:
    while True:
        try:
            await outbox.prune(epoch)
        except StorageError as error:
            log.error("outbox_failed", extra=facts(why=error))
        await asyncio.sleep(PRUNE_EVERY_S)
