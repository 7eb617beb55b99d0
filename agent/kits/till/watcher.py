"""A subscriber to every message of one terminal and its tills."""

import asyncio
import secrets
from collections.abc import Callable

from agent.config import MqttConfig
from agent.errors import TillError
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reachability import Reachability, silent_terminal
from agent.texts import Text

STATE_TIMEOUT_S = 5.0


class Watcher:
    """``start`` returns after the terminal's first state; ``on_message`` receives each message in order."""

    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        on_message: Callable[[Message], None],
        terminal: Callable[[], TillError | None] = lambda: None,
    ) -> None:
        """``terminal``: the broker's problem with the terminal, when the caller runs the terminal itself."""
        self._topics, self._terminal = topics, terminal
        self._on_message = on_message
        self._state_received = asyncio.Event()
        client_id = f"facepay-watch-{secrets.token_hex(4)}"
        filters = [(f"{topics.base}/{rest}", 1) for rest in ("state", "verify/+/+", "conformance/+/paid")]
        reachability = self._reachability = Reachability(config)
        options = ClientOptions(
            client_id, filters, self._received, reachability.note_ready, on_problem=reachability.note_problem
        )
        self.connection = Connection(config, options)

    async def start(self) -> None:
        """Raises ``TillError`` without a state in time: the problem of the broker, or of the terminal."""
        await self.connection.start()
        try:
            async with self._reachability.limit(STATE_TIMEOUT_S):
                await self._state_received.wait()
        except TimeoutError:
            await self.connection.stop()
            silent = silent_terminal(self._topics, Text("detail.terminal_silent"))
            raise self._reachability.error(self._terminal() or silent) from None

    async def stop(self) -> None:
        await self.connection.stop()

    def _received(self, message: Message) -> None:
        if message.topic == self._topics.state:
            self._state_received.set()
        self._on_message(message)
