"""The sender of a till's cancels, and of its acknowledgements in the background."""

from __future__ import annotations

import logging
from typing import Any

from agent.errors import TillError
from agent.log import facts
from agent.messages.encode import envelope
from agent.messages.signing import Signer
from agent.messages.topics import ACK, CANCEL, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message
from agent.tasks import Background

log = logging.getLogger(__name__)

ACK_TIMEOUT_S = 1.0


class Sender:
    """Signs the messages when the till has a key. Each message names site and terminal."""

    def __init__(self, link: Connection, topics: Topics, till: str, signer: Signer | None) -> None:
        self._link, self._topics, self._till, self._signer = link, topics, till, signer
        self._background = Background()

    async def cancel(self, request_id: str) -> None:
        """Raises ``TillError``: the link failed."""
        await self._send(CANCEL, {"request_id": request_id})

    async def ack(self, result_id: str) -> None:
        """Raises ``TillError``: the link failed."""
        await self._send(ACK, {"result_id": result_id})

    def ack_later(self, result_id: str) -> None:
        """Acknowledge in the background: a failed acknowledgement must not lose the verdict."""
        self._background.add(self._try_ack(result_id))

    async def finish(self) -> None:
        """Wait for the pending acknowledgements, at most ``ACK_TIMEOUT_S``."""
        await self._background.finish(ACK_TIMEOUT_S)

    async def _try_ack(self, result_id: str) -> None:
        try:
            await self.ack(result_id)
        except TillError as error:
            # The terminal repeats the result; the till then acknowledges again.
            log.info("ack_not_sent", extra=facts(result_id=result_id, code=error.code))

    async def _send(self, kind: str, tree: dict[str, Any]) -> None:
        place = {"site": self._topics.site, "terminal": self._topics.terminal}
        payload = envelope(kind, {"schema": f"facepay.{kind}/1"} | tree | place, self._signer)
        await self._link.publish(Message(self._topics.verify(self._till, kind), payload))
