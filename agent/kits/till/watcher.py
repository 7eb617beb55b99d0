"""Sees every message of one terminal and its tills, in the order the broker delivers them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from agent.config import MqttConfig
from agent.kits.till.reachability import Reachability
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring

HEARD_TIMEOUT_S = 5.0


class Watcher:
    """``start`` returns once it hears the terminal; ``on_message`` then gets all that follows."""

    def __init__(self, config: MqttConfig, topics: Topics, on_message: Callable[[Message], None]) -> None:
        self._topics = topics
        self._on_message = on_message
        self._heard = asyncio.Event()
        client_id = f"facepay-watch-{secrets.token_hex(4)}"
        heard = [(f"{topics.base}/{rest}", 1) for rest in ("state", "verify/+/+", "conformance/+/paid")]
        self._reach = Reachability(config)
        wiring = Wiring(client_id, heard, self._arrived, self._reach.up, on_trouble=self._reach.note)
        self.link = Connection(config, wiring)

    async def start(self) -> None:
        """Raises ``TillError`` when nothing is heard: what is wrong with the broker, or no terminal."""
        await self.link.start()
        try:
            async with asyncio.timeout(HEARD_TIMEOUT_S):
                await self._heard.wait()
        except TimeoutError:
            await self.link.stop()
            raise self._reach.silence(f"no state of {self._topics.base} on this broker") from None

    async def stop(self) -> None:
        await self.link.stop()

    def _arrived(self, message: Message) -> None:
        if message.topic == self._topics.state:
            self._heard.set()
        self._on_message(message)
