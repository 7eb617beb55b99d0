"""The bounded queue between paho's network thread and the event loop.

``call_soon_threadsafe`` for each message has no bound: a flood fills the loop's own queue, and all other work
waits behind it. Here the loop is woken once for all queued messages, and handles at most ``TURN_MAX`` of
them before it runs its other work.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from paho.mqtt.client import Client, MQTTMessage

WAITING_MAX = 256
WAITING_MAX_BYTES = 4 * 1024 * 1024
TURN_MAX = 16


class Handover:
    """``put`` is for any thread; ``handle`` is called on the loop. ``dropped`` counts rejected messages."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handle: Callable[[Client, MQTTMessage], None]
    ) -> None:
        self._loop, self._handle = loop, handle
        self._waiting: deque[tuple[Client, MQTTMessage]] = deque()
        self._bytes = 0
        self._woken = False
        self._lock = threading.Lock()
        self.dropped = 0

    def put(self, client: Client, message: MQTTMessage) -> None:
        """Queue a message; drop the message when the queue is full. After the loop is closed: do nothing."""
        with self._lock:
            size = len(message.payload)
            if len(self._waiting) >= WAITING_MAX or self._bytes + size > WAITING_MAX_BYTES:
                self.dropped += 1
                return
            self._waiting.append((client, message))
            self._bytes += size
            wake, self._woken = not self._woken, True
        if wake and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        for _ in range(TURN_MAX):
            with self._lock:
                if not self._waiting:
                    self._woken = False
                    return
                client, message = self._waiting.popleft()
                self._bytes -= len(message.payload)
            try:
                self._handle(client, message)
            except Exception as error:  # a bug with one message must not stop the turns of all others
                self._loop.call_exception_handler({"message": "MQTT message handler", "exception": error})
        self._loop.call_soon(self._turn)
