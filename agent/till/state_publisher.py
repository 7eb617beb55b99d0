"""Publishes the signed ``state``: retained on its own topic, and as a copy to each till that asks.

A clustered broker can keep retained messages on one node, or deliver none to a subscriber. So a till asks
for ``state`` after it has subscribed, and gets the same bytes on a topic of its own. The broker cannot put
another epoch or another name into ``state``, because the terminal signs the text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agent.errors import TillError
from agent.log import facts
from agent.messages.encode import TerminalIdentity, state
from agent.messages.signing import Signer
from agent.messages.topics import STATE_COPY, Topics
from agent.mqtt.paho_client import Message
from agent.mqtt.reason_codes import BrokerProblem
from agent.mqtt.status import ReportProblem
from agent.tasks import Background
from agent.till.retained_state import RetainedState, is_clone

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class StateFacts:
    """Content of ``state`` beyond the identity, and the keys of this terminal."""

    status: Callable[[], str]  # online or degraded
    more: Callable[[], dict[str, Any]]
    signer: Signer
    on_problem: ReportProblem = lambda _problem, _active, _detail: None
    fingerprints: tuple[str, ...] = ()  # of the key in use and of the key before the last rotation


class StatePublisher:
    """For the event loop only.

    Args:
        publish: publishes one message with QoS 1.
        now_s: monotonic seconds.
    Attributes:
        retained: whether the broker is to retain ``state``. The simulator sets False, as a broker that
            delivers no retained message.
    """

    def __init__(
        self,
        topics: Topics,
        identity: TerminalIdentity,
        state_facts: StateFacts,
        publish: Callable[[Message], Awaitable[object]],
        background: Background,
        now_s: Callable[[], float],
    ) -> None:
        self._topics, self._identity, self._facts = topics, identity, state_facts
        self._publish, self._background = publish, background
        self._retained_state = RetainedState(now_s, self._is_foreign, self._publish_again)
        self._payload = b""  # as published last
        self._asking: dict[str, None] = {}  # tills that get a copy, in order
        self._copying = False
        self.final_status = ""  # "stopping" or "offline": never replaced by an earlier status
        self.retained = True

    @property
    def will(self) -> Message:
        payload = state("offline", self._identity, signer=self._facts.signer)
        return Message(self._topics.state, payload, retained=True)

    async def announce(self, final_status: str = "") -> None:
        """Publish ``state`` after a change. ``final_status``: see ``MqttTill.announce``."""
        if self.final_status != "offline":
            self.final_status = final_status or self.final_status
        status = self.final_status or self._facts.status()
        self._payload = state(status, self._identity, self._facts.more(), self._facts.signer)
        self._retained_state.published(self._payload)
        await self._send(Message(self._topics.state, self._payload, self.retained))

    def received(self, payload: bytes) -> None:
        """The broker delivered a ``state`` of this terminal's topic."""
        if self._is_foreign(payload):
            self._facts.on_problem(BrokerProblem.CLONED, True, "")
        if self.retained:
            self._retained_state.received(payload)

    def send_copy(self, till: str) -> None:
        """Publish the newest ``state`` on the topic of a till. Nothing before the first ``announce``.

        One copy at a time: many tills ask at once after a restart of the broker, and the places for
        unanswered publishes are few. A till that asks again while it waits gets one copy.
        """
        if not self._payload:
            return
        self._asking[till] = None
        if not self._copying:
            self._copying = True
            self._background.add(self._send_copies())

    def close(self) -> None:
        self._retained_state.close()

    def _is_foreign(self, payload: bytes) -> bool:
        return is_clone(payload, self._identity, self._facts.fingerprints)

    def _publish_again(self) -> None:
        if not self.final_status:
            self._background.add(self.announce())

    async def _send_copies(self) -> None:
        try:
            while self._asking:
                till = next(iter(self._asking))
                del self._asking[till]
                await self._send(Message(self._topics.verify(till, STATE_COPY), self._payload))
        finally:
            self._copying = False

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._publish(message)
        except (TillError, TimeoutError) as error:
            log.info("state_not_published", extra=facts(topic=message.topic, why=error))
