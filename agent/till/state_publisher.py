"""Publishes the signed ``state``: retained on its own topic, and a copy to each till that requests one.

A clustered broker can keep retained messages on one node, or deliver none to a subscriber. So a till sends
``get_state`` after it has subscribed, and gets the same bytes on a topic of its own. The broker cannot change
the epoch or the ids in ``state``, because the terminal signs the text.
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
from agent.till.acknowledgements import ReportUnacknowledged
from agent.till.retained_state import RetainedState, is_clone

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_S = 2.0
CLONED_FOR_S = 1_800.0  # after the newest ``state`` of another terminal; it publishes again every ten minutes


@dataclass(frozen=True, slots=True)
class StateFacts:
    """The content of ``state`` except the ids, and the keys of this terminal."""

    status: Callable[[], str]  # online or degraded
    fields: Callable[[], dict[str, Any]]  # all others
    signer: Signer
    on_problem: ReportProblem = lambda _problem, _active, _detail: None
    on_unacknowledged: ReportUnacknowledged = lambda _active, _tills: None
    fingerprints: tuple[str, ...] = ()  # of the key in use and of the key before the last rotation


class StatePublisher:
    """For the event loop only.

    Args:
        publish: publishes one message with QoS 1.
        now_s: monotonic seconds.
    Attributes:
        retained: whether ``state`` is published with the retain flag, and published again when the broker
            delivers other bytes. The simulator sets False, as a broker that retains nothing.
        final_status: ``stopping`` or ``offline``, which no earlier status replaces; empty while serving.
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
        self._waiting: dict[str, None] = {}  # tills that wait for a copy, the first one first
        self._copying = False
        self._clone_timer: asyncio.TimerHandle | None = None  # ends the condition of a clone
        self.final_status = ""
        self.retained = True

    @property
    def will(self) -> Message:
        payload = state("offline", self._identity, signer=self._facts.signer)
        return Message(self._topics.state, payload, retained=True)

    async def announce(self, final_status: str = "") -> None:
        """Publish ``state`` after a change.

        ``final_status``: ``stopping``, then ``offline``. A later change of a condition or a reconnect must
        not publish ``online`` for a terminal that accepts no more requests.
        """
        if self.final_status != "offline":
            self.final_status = final_status or self.final_status
        status = self.final_status or self._facts.status()
        self._payload = state(status, self._identity, self._facts.fields(), self._facts.signer)
        self._retained_state.note_published(self._payload)
        await self._send(Message(self._topics.state, self._payload, self.retained))

    def received(self, payload: bytes) -> None:
        """The broker delivered a ``state`` of this terminal's topic."""
        if self._is_foreign(payload):
            self._note_clone()
        if self.retained:
            self._retained_state.note_received(payload)

    def send_copy(self, till: str) -> None:
        """Publish the newest ``state`` on the topic of a till. Nothing before the first ``announce``.

        Copies are sent one after the other: after a restart of the broker many tills need one, and the
        number of unanswered publishes is limited. A till that requests again while it waits gets one copy.
        """
        if not self._payload:
            return
        self._waiting[till] = None
        if not self._copying:
            self._copying = True
            self._background.add(self._send_copies())

    def close(self) -> None:
        self._retained_state.close()
        if self._clone_timer is not None:
            self._clone_timer.cancel()

    def _note_clone(self) -> None:
        if self._clone_timer is not None:
            self._clone_timer.cancel()
        loop, report = asyncio.get_running_loop(), self._facts.on_problem
        self._clone_timer = loop.call_later(CLONED_FOR_S, report, BrokerProblem.CLONED, False, "")
        report(BrokerProblem.CLONED, True, "")

    def _is_foreign(self, payload: bytes) -> bool:
        return is_clone(payload, self._identity, self._facts.fingerprints)

    def _publish_again(self) -> None:
        if not self.final_status:
            self._background.add(self.announce())

    async def _send_copies(self) -> None:
        try:
            while self._waiting:
                till = next(iter(self._waiting))
                del self._waiting[till]
                await self._send(Message(self._topics.verify(till, STATE_COPY), self._payload))
        finally:
            self._copying = False

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._publish(message)
        except (TillError, TimeoutError) as error:
            log.info("state_not_published", extra=facts(topic=message.topic, why=error))
