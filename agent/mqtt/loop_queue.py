"""From paho's network thread to the event loop: a bounded queue for messages, a call for each other event.

``call_soon_threadsafe`` has no bound: with a call for each message, a flood would delay all other work of the
loop. Here one call wakes the loop for all queued messages, and the loop handles at most ``DRAIN_MAX`` of them
before its other work.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage

from agent.tasks import call_soon

log = logging.getLogger(__name__)

WAITING_MAX = 256
WAITING_MAX_BYTES = 4 * 1024 * 1024
DRAIN_MAX = 16


class LoopQueue:
    """``put`` and ``call`` are for any thread. After the loop is closed they do nothing.

    Args:
        admits: whether a message with this topic is queued. Called on paho's thread.
        handle: called on the loop.
        waiting_max: messages in the queue; their sum is at most ``WAITING_MAX_BYTES``.
    Attributes:
        dropped: messages without a free place in the queue.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        admits: Callable[[str], bool],
        handle: Callable[[Client, MQTTMessage], None],
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._loop, self._admits, self._handle = loop, admits, handle
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[Client, MQTTMessage]] = deque()
        self._waiting_bytes = 0
        self._is_drain_scheduled = False
        self._lock = threading.Lock()
        self.dropped = 0

    def call(self, handler: Callable[..., None], *arguments: Any) -> None:
        call_soon(self._loop, handler, *arguments)

    def put(self, client: Client, message: MQTTMessage) -> None:
        """Queue an admitted message. Most messages of a flood are dropped here."""
        try:
            if message.topic and self._admits(message.topic):
                self._put(client, message)
        except UnicodeDecodeError:
            pass  # paho decodes the topic on access
        except Exception:  # would end the network thread of paho, and the client would appear connected
            log.exception("bug_in_on_message")

    def _put(self, client: Client, message: MQTTMessage) -> None:
        with self._lock:
            size = len(message.payload)
            if len(self._waiting) >= self._waiting_max or self._waiting_bytes + size > WAITING_MAX_BYTES:
                self.dropped += 1
                return
            self._waiting.append((client, message))
            self._waiting_bytes += size
            must_schedule, self._is_drain_scheduled = not self._is_drain_scheduled, True
        if must_schedule:
            self.call(self._drain)

    def _drain(self) -> None:
        for _ in range(DRAIN_MAX):
            with self._lock:
                if not self._waiting:
                    self._is_drain_scheduled = False
                    return
                client, message = self._waiting.popleft()
                self._waiting_bytes -= len(message.payload)
            try:
                self._handle(client, message)
            except Exception as error:  # a bug with one message must not stop the other messages
                self._loop.call_exception_handler({"message": "MQTT message handler", "exception": error})
        self._loop.call_soon(self._drain)
