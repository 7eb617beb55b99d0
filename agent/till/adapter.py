"""The terminal's side of the till contract over MQTT. Implements ``core.ports.Till``.

Inbound messages are decoded in ``inbound``; ``core.admission`` decides about requests. Events are published
once, best effort. ``ResultSender`` publishes results until they are acknowledged. Only ``state`` is retained;
the last will is a ``state`` with the status ``offline``.
"""

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

from agent.config import MqttConfig
from agent.core.ports import AcceptedEvent, Clock, Inbound, StoredResult, TillEvent
from agent.errors import StorageError, TillError
from agent.log import facts
from agent.messages.decode import DecodeRules
from agent.messages.encode import TerminalIdentity, event, health
from agent.messages.topics import ACK, CANCEL, EVENT, GET_STATE, PROBE_TILL, REQUEST, RESULT, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.outbox.outbox import Outbox
from agent.tasks import Background
from agent.till.delivery import ResultSender
from agent.till.inbound import TillMessages
from agent.till.rate_limits import TillRateLimits
from agent.till.state_publisher import StateFacts, StatePublisher

log = logging.getLogger(__name__)

DIAG_INBOX_MAX = 10  # messages of operators without a checked signature; further ones are dropped
PRUNE_EVERY_S = 3_600.0


class MqttTill:
    """Call ``start`` first and ``stop`` last. The terminal uses an instance as its ``Till``."""

    def __init__(
        self,
        config: MqttConfig,
        identity: TerminalIdentity,
        rules: DecodeRules,
        outbox: Outbox,
        clock: Clock,
        *,
        margin_ms: int,
        state_facts: StateFacts,
    ) -> None:
        self.topics = Topics(identity.site, identity.terminal)
        self.identity, self.signer, self._outbox = identity, state_facts.signer, outbox
        self._on_problem = state_facts.on_problem
        self._background = Background()
        self.accepts_diagnosis = rules.accepts_diagnosis
        self.diag_inbox: asyncio.Queue[tuple[str, Message]] = asyncio.Queue(DIAG_INBOX_MAX)
        has_key = rules.trust.has_key if rules.trust is not None else lambda _till: False

        def now_s() -> float:
            return clock.now_ms() / 1e3

        self._limits = TillRateLimits(self.topics, now_s, config.requests_per_minute, has_key)
        self.state = StatePublisher(
            self.topics, identity, state_facts, self._publish, self._background, now_s
        )
        self.connection = Connection(config, self._client_options())
        self.result_sender = ResultSender(
            self.connection,
            outbox,
            self.topics,
            clock,
            ack=config.ack,
            margin_ms=margin_ms,
            on_unacknowledged=state_facts.on_unacknowledged,
        )
        acknowledged = self.result_sender.record_ack
        self._messages = TillMessages(rules, clock, self._limits, self._background, acknowledged)

    async def start(self) -> None:
        """Connect in the background. Raises ``ConfigError`` for unusable certificate files."""
        await self.connection.start()
        self._background.keep(self._messages.detect_pauses)
        self._background.keep(self.result_sender.run)
        self._background.keep(partial(_prune, self._outbox, self.identity.epoch))

    async def stop(self) -> None:
        """Publish ``offline``, then disconnect: no will is sent. At most 4 s. Safe to call twice."""
        self.state.close()
        await self.state.announce("offline")
        await self._background.close()
        await self.connection.stop()

    @property
    def dropped(self) -> int:
        """Messages of tills and operators dropped by a limit, and rejected ones without an answer."""
        by_limit = self._limits.dropped + self.connection.dropped_messages + self._messages.inbox.dropped
        return by_limit + self._messages.unanswered

    @property
    def delivery_counters(self) -> dict[str, int]:
        """Counters of results and dropped messages, as in ``health``."""
        return {
            "unacknowledged": self.result_sender.open_count,
            "expired_unacknowledged": self.result_sender.expired_unacked,
            "withheld": self.result_sender.withheld,
            "inbound_dropped": self.dropped,
        }

    async def publish_health(self, fields: dict[str, Any]) -> None:
        """Publish ``health`` once, best effort, with ``delivery_counters`` added."""
        try:
            payload = health(self.identity, fields | {"till": self.delivery_counters})
            await self.connection.publish(Message(self.topics.health, payload), qos=0)
        except TillError as error:
            log.debug("health_not_sent", extra=facts(code=error.code))

    # --- core.ports.Till --------------------------------------------------------------------------

    async def receive(self) -> Inbound:
        return await self._messages.inbox.get()

    async def publish(self, value: TillEvent) -> None:
        till, payload = event(value)
        if isinstance(value, AcceptedEvent):
            self._limits.mark_served(till)
        try:
            await self.connection.publish(Message(self.topics.verify(till, EVENT), payload), qos=0)
        except TillError as error:
            log.debug("event_not_sent", extra=facts(code=error.code))  # no decision depends on an event

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        await self.result_sender.deliver(stored, again=again)

    # --- events of the connection -----------------------------------------------------------------

    def _client_options(self) -> ClientOptions:
        get_state = self.topics.till_filter(GET_STATE)
        filters = [self.topics.till_filter(kind) for kind in (REQUEST, CANCEL, ACK)]
        filters += [get_state, self.topics.state]
        filters += [self.topics.operator_filter()] * self.accepts_diagnosis
        return ClientOptions(
            f"facepay-{self.identity.site}-{self.identity.terminal}",
            [(topic_filter, 1) for topic_filter in filters],
            self._arrived,
            self._on_ready,
            self.state.will,
            self._on_problem,
            optional_filters=frozenset(
                {self.topics.state, get_state}
            ),  # an older access list of the broker lacks them
            admits=self._limits.admits,
        )

    def _on_ready(self) -> None:
        if self.state.final_status != "offline":
            self.result_sender.make_all_due()
            self._background.add(self.state.announce())
            self._background.add(_test_rights(self.connection, self.topics))

    def _arrived(self, message: Message) -> None:
        if message.topic == self.topics.state:
            self.state.received(message.payload)
            return
        operator = self.topics.operator_of(message.topic)
        if operator is not None and not self.diag_inbox.full():
            self.diag_inbox.put_nowait((operator, message))
        match self.topics.read(message.topic):
            case (till, kind) if kind == GET_STATE:
                if not message.retained and self._limits.admits_state_copy(till):
                    self.state.send_copy(till)
            case (till, kind):
                self._messages.handle(till, kind, message)

    async def _publish(self, message: Message) -> None:  # ``state`` is made before the connection
        await self.connection.publish(message)


async def _test_rights(link: Connection, topics: Topics) -> None:
    """Publish an empty message on each topic of answers: a refusal (PUBACK) becomes a condition at once.

    Otherwise only the first payer's result would show that the broker grants too few rights. No till has the
    name in the topic.
    """
    for kind in (RESULT, EVENT):
        with contextlib.suppress(TillError):  # the connection has counted the refusal
            await link.publish(Message(topics.verify(PROBE_TILL, kind), b""))


async def _prune(outbox: Outbox, epoch: str) -> None:
    while True:
        try:
            await outbox.prune(epoch)
        except StorageError as error:
            log.error("outbox_failed", extra=facts(why=error))
        await asyncio.sleep(PRUNE_EVERY_S)
