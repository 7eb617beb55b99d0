"""Sees every message of one terminal and its tills, in the order the broker delivers them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from agent.config import MqttConfig
from agent.errors import TillError
from agent.till.link import Link
from agent.till.link_client import Message, Wiring
from agent.till.topics import Topics

HEARD_TIMEOUT_S = 5.0


class Watcher:
    """``start`` returns once it hears the terminal; ``on_message`` then gets all that follows."""

    def __init__(self, config: MqttConfig, topics: Topics, on_message: Callable[[Message], None]) -> None:
        self._topics = topics
        self._on_message = on_message
        self._heard = asyncio.Event()
        client_id = f"facepay-watch-{secrets.token_hex(4)}"
        heard = [(f"{topics.base}/{rest}", 1) for rest in ("state", "verify/+/+", "conformance/+/paid")]
        self.link = Link(config, Wiring(client_id, heard, self._arrived, lambda: None))

    async def start(self) -> None:
        """Raises ``TillError`` (``terminal_offline``) when nothing is heard: no broker, or no terminal."""
        await self.link.start()
        try:
            async with asyncio.timeout(HEARD_TIMEOUT_S):
                await self._heard.wait()
        except TimeoutError:
            await self.link.stop()
            words = f"no broker, or no state of {self._topics.base}"
            raise TillError(words, code="terminal_offline") from None

    async def stop(self) -> None:
        await self.link.stop()

    def _arrived(self, message: Message) -> None:
        if message.topic == self._topics.state:
            self._heard.set()
        self._on_message(message)
