"""The MQTT link: keeps one connection. Role-neutral: terminal and till both use it.

Facts about paho 2 that shape it (each measured or read in its source):

- An exception in a callback kills its network thread while ``is_connected()`` stays true. So every callback
  only hands its arguments to the loop.
- What was published and not acknowledged stays in the client and is sent again after a reconnect, however
  late. So each connection gets a client of its own, thrown away with the connection: nothing old can leave
  later. A new client also reads the certificates again.
- ``publish`` while offline answers NO_CONN but delivers later. So nothing is handed to it while offline.
- ``is_published()`` is true even when the broker refused. So success is ``on_publish``'s reason code alone.
- ``connect`` blocks on DNS beyond its time-out. So it runs in a thread that may be abandoned.
- A subscription is forgotten by a clean start, and stands only when the broker has answered it. So it is made
  in ``on_connect``, and the link is up, for those who wait for it, when the answer is there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import ConfigError, TillError
from agent.log import facts
from agent.mqtt.handover import Handover
from agent.mqtt.limits import BrokerLimits
from agent.mqtt.paho_client import Message, Wiring, connect, cut, make_client, subscribe
from agent.mqtt.reason_codes import of_connect, of_disconnect, words
from agent.mqtt.sending import Sending
from agent.mqtt.status import BrokerStatus

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CONNACK_TIMEOUT_S = 5.0  # a broker that takes the connection and says nothing is not there
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # then the last for ever


class Connection:
    """Keeps one connection to the broker, for ever. All methods belong to the asyncio loop."""

    def __init__(self, config: MqttConfig, wiring: Wiring) -> None:
        self._config = config
        self._wiring = wiring
        self._client: Client | None = None  # the connected one
        self._candidate: Client | None = None  # the newest one made: no older one may come up late
        self._lost = asyncio.Event()
        self._troubles = BrokerStatus(wiring.on_trouble)
        self._sending = Sending(self._troubles)
        self._handover: Handover | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def dropped(self) -> int:
        """Messages that found no room on the way from the network thread."""
        return 0 if self._handover is None else self._handover.dropped

    async def start(self) -> None:
        """Connect in the background, again and again. Raises ``ConfigError``: an unreadable file."""
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(self._loop, self.arrived)
        make_client(self._config, self._wiring, self)  # wrong files fail now, not in the background
        self._keeper = asyncio.create_task(self._keep(), name="mqtt-link")

    async def stop(self) -> None:
        """Disconnect cleanly, so that the broker drops the will. At most 2 s. Safe to call twice."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self._troubles.close()
        client, self._client, self._candidate = self._client, None, None
        self._sending.lost()
        if client is not None:
            client.disconnect()
            await _in_thread(client.loop_stop, 2.0)

    async def publish(self, message: Message, qos: int = 1) -> bool:
        """Send, and with QoS 1 wait for the broker. True: somebody is subscribed, as far as it tells.

        Raises ``TillError``: ``link_down`` (offline, not sent), ``publish_cut`` (the connection ended before
        the broker answered: it may have been sent), ``publish_refused`` with the broker's reason, or
        ``packet_too_large`` (not sent: the broker announced a smaller limit).
        """
        if self._client is None:
            raise TillError("not connected to the broker", code="link_down")
        return await self._sending.publish(self._client, message, qos)

    async def room(self) -> None:
        """Wait until ``publish`` sends at once; not while offline. Raises ``TillError`` (``publish_cut``)."""
        if self._client is not None:
            await self._sending.room(self._client)

    # --- the connection's life --------------------------------------------------------------------

    async def _keep(self) -> None:
        attempt = 0
        while True:
            try:
                await self._one_connection()
            except ConfigError as error:  # its files are just being replaced, or are gone
                log.error("link_files_unusable", extra=facts(why=error))
                self._troubles.unreachable()
            attempt = 0 if self._troubles.steady else attempt
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1

    async def _one_connection(self) -> None:
        client = self._candidate = make_client(self._config, self._wiring, self)
        self._lost.clear()
        if not await _in_thread(partial(connect, client, self._config), CONNECT_TIMEOUT_S):
            self._troubles.unreachable()
            return
        silent = _cut_unless(lambda: self._client is client, client)
        try:
            await self._lost.wait()
        finally:
            silent.cancel()
            if client is not self._client:  # else ``stop`` says goodbye properly
                threading.Thread(target=client.loop_stop, daemon=True).start()

    # --- news from paho, already on our loop ------------------------------------------------------

    def hand_over(self, handler: Callable[..., None], *arguments: Any) -> None:
        """Runs on paho's thread, for news of the connection. Ignored after the loop is closed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(handler, *arguments)

    def received(self, client: Client, message: MQTTMessage) -> None:
        """Runs on paho's thread, for each message: most of a flood ends here."""
        if self._handover is not None and _has_topic(message) and self._wiring.admits(message.topic):
            self._handover.put(client, message)

    def came_up(self, client: Client, reason: ReasonCode, told: Properties | None) -> None:
        if reason.is_failure:
            why = words(reason, told)
            log.warning("link_refused", extra=facts(host=self._config.host, reason=why))
            self._troubles.refused(of_connect(reason), why)
            self._lost.set()
            return
        if client is not self._candidate:
            client.disconnect()  # a connect that was given up has come through after all
            return
        self._client = client
        limits = self._sending.limits = BrokerLimits.of(told)
        log.info("link_up", extra=facts(host=self._config.host, port=self._config.port))
        self._troubles.connected(self._wiring.missing(limits))
        wanted = self._wiring.allowed(limits)
        if wanted:
            subscribe(client, wanted)
        else:
            self._wiring.on_up()

    def went_down(
        self, client: Client, reason: ReasonCode, told: Properties | None, from_broker: bool
    ) -> None:
        if client is not self._client and client is not self._candidate:
            return  # one that was given up long ago
        if client is self._client:
            self._client = None
            why = words(reason, told)
            log.warning("link_lost", extra=facts(host=self._config.host, reason=why))
            trouble = of_disconnect(reason) if from_broker else None
            self._troubles.lost(trouble, why, self._sending.lost())
        elif not self._lost.is_set():  # neither taken nor refused: TLS 1.3 reports a bad certificate so late
            log.info("link_failed", extra=facts(host=self._config.host, why=f"hung up on: {words(reason)}"))
            self._troubles.unreachable()
        self._lost.set()

    def subscribed(self, client: Client, reasons: list[ReasonCode]) -> None:
        if client is not self._client:
            return
        refused = self._wiring.refused(self._sending.limits, reasons)
        self._troubles.subscribed(refused)
        self._wiring.on_up()

    def answered(self, client: Client, mid: int, reason: ReasonCode, told: Properties | None) -> None:
        if client is self._client:
            self._sending.answered(mid, reason, told)

    def arrived(self, client: Client, message: MQTTMessage) -> None:
        if client is self._client:
            self._wiring.on_message(_message(message))


def _has_topic(message: MQTTMessage) -> bool:
    """Whether its topic is UTF-8; paho decodes it only when it is read, and an error would end its thread."""
    try:
        return bool(message.topic)
    except UnicodeDecodeError:
        return False


def _message(said: MQTTMessage) -> Message:
    expires_in_s = getattr(said.properties, "MessageExpiryInterval", None)
    return Message(said.topic, bytes(said.payload), bool(said.retain), expires_in_s)


async def _in_thread(work: Callable[[], Any], timeout_s: float) -> bool:
    """Run blocking work in a daemon thread that may be abandoned; False when it failed or was."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    outcome = [False]

    def run() -> None:
        try:
            outcome[0] = work() is not False
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="mqtt-blocking", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            await done.wait()
    except TimeoutError:
        return False
    return outcome[0]


def _cut_unless(is_up: Callable[[], bool], client: Client) -> asyncio.TimerHandle:
    """A connection that is taken and then met with silence is cut, and so found lost."""

    def look() -> None:
        if not is_up():
            cut(client)

    return asyncio.get_running_loop().call_later(CONNACK_TIMEOUT_S, look)
