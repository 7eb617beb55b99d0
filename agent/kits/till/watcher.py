"""A subscriber to every message of one terminal and its tills, in the broker's order of delivery."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from agent.config import MqttConfig
from agent.kits.till.reachability import Reachability
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message

STATE_TIMEOUT_S = 5.0


class Watcher:
    """``start`` returns after the terminal's first state; ``on_message`` receives every message."""

    def __init__(self, config: MqttConfig, topics: Topics, on_message: Callable[[Message], None]) -> None:
        self._topics = topics
        self._on_message = on_message
        self._state_received = asyncio.Event()
        client_id = f"facepay-watch-{secrets.token_hex(4)}"
        filters = [(f"{topics.base}/{rest}", 1) for rest in ("state", "verify/+/+", "conformance/+/paid")]
        reachability = self._reachability = Reachability(config)
        wiring = ClientOptions(
            client_id, filters, self._received, reachability.up, on_problem=reachability.note_problem
        )
        self.link = Connection(config, wiring)

    async def start(self) -> None:
        """Raises ``TillError`` without a state in time; the error names the broker's problem, if any."""
        await self.link.start()
        try:
            async with asyncio.timeout(STATE_TIMEOUT_S):
                await self._state_received.wait()
        except TimeoutError:
            await self.link.stop()
            raise self._reachability.error(f"no state of {self._topics.base} on this broker") from None

    async def stop(self) -> None:
        await self.link.stop()

    def _received(self, message: Message) -> None:
        if message.topic == self._topics.state:
            self._state_received.set()
        self._on_message(message)
