"""One permanent connection to the broker. Role-neutral: the terminal and the till kit use it.

Properties of paho 2 that determine the design (each measured, or read in the source of paho):

- An exception in a callback ends paho's network thread while ``is_connected()`` stays true. So every callback
  only hands its arguments to the loop.
- An unacknowledged publish stays in the client and is sent again after a reconnect, however late. So each
  connection gets a new client, which is discarded with the connection: no old message can leave later. A new
  client also reads the certificates again.
- ``publish`` while offline returns NO_CONN but delivers later. So paho gets no message while offline.
- ``is_published()`` is true even when the broker refused. So only the reason code of ``on_publish`` counts.
- ``connect`` blocks in the resolver beyond its time limit. So it runs in a thread, see ``blocking``.
- A clean start discards subscriptions, and a subscription is active only after its SUBACK. So each CONNACK
  starts the subscription, and ``on_ready`` is called after the SUBACK.
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
from agent.mqtt.blocking import BlockingCall
from agent.mqtt.handover import Handover
from agent.mqtt.limits import BrokerLimits
from agent.mqtt.paho_client import ClientOptions, Message, connect, cut, make_client, subscribe
from agent.mqtt.reason_codes import describe, of_connect, of_disconnect
from agent.mqtt.sending import Sending
from agent.mqtt.status import BrokerStatus

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CONNACK_TIMEOUT_S = 5.0  # a broker that accepts the TCP connection and sends no CONNACK counts as unreachable
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # pauses between attempts; the last one repeats


class Connection:
    """Keeps one connection to the broker until ``stop``. All methods belong to the asyncio loop."""

    def __init__(self, config: MqttConfig, wiring: ClientOptions) -> None:
        self._config = config
        self._wiring = wiring
        self._client: Client | None = None  # the connected client
        self._candidate: Client | None = None  # the newest client; a CONNACK for an older one is ignored
        self._lost = asyncio.Event()
        self._status = BrokerStatus(wiring.on_problem)
        self._sending = Sending(self._status)
        self._connecting = BlockingCall()
        self._handover: Handover | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def dropped(self) -> int:
        """Received messages that were dropped because the queue to the loop was full."""
        return 0 if self._handover is None else self._handover.dropped

    async def start(self) -> None:
        """Connect in the background and repeat until the broker answers.

        Raises:
            ConfigError: a certificate, key or password file that cannot be read.
        """
        self._loop = asyncio.get_running_loop()
        self._handover = Handover(self._loop, self._deliver)
        make_client(self._config, self._wiring, self)  # unusable files fail here, not in the background
        self._task = asyncio.create_task(self._keep_connected(), name="mqtt-connection")

    async def stop(self) -> None:
        """Disconnect cleanly, so that the broker discards the will. At most 2 s. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._status.close()
        client, self._client, self._candidate = self._client, None, None
        self._sending.lost()
        if client is not None:
            client.disconnect()
            await BlockingCall().run(client.loop_stop, 2.0)

    async def publish(self, message: Message, qos: int = 1) -> bool:
        """Send, and with QoS 1 wait for the PUBACK. True when the broker reports a subscriber.

        Raises ``TillError``: ``link_down`` (offline, not sent), ``publish_cut`` (the connection ended before
        the PUBACK: the message may have been sent), ``publish_refused`` with the broker's reason, or
        ``packet_too_large`` (not sent: the broker announced a smaller limit).
        """
        if self._client is None:
            raise TillError("not connected to the broker", code="link_down")
        return await self._sending.publish(self._client, message, qos)

    async def wait_until_free(self) -> None:
        """Wait until ``publish`` sends at once. Raises ``TillError`` (``publish_cut``)."""
        if self._client is not None:
            await self._sending.wait_until_free(self._client)

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            try:
                await self._one_connection()
            except ConfigError as error:  # a file is being replaced, or was removed
                log.error("mqtt_files_unusable", extra=facts(why=error))
                self._status.unreachable()
            attempt = 0 if self._status.steady else attempt
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1

    async def _one_connection(self) -> None:
        client = self._candidate = make_client(self._config, self._wiring, self)
        self._lost.clear()
        if not await self._connecting.run(partial(connect, client, self._config), CONNECT_TIMEOUT_S):
            self._status.unreachable()
            return
        connack_timer = _cut_unless(lambda: client is self._client, client)
        try:
            await self._lost.wait()
        finally:
            connack_timer.cancel()
            if client is not self._client:  # otherwise ``stop`` disconnects cleanly
                threading.Thread(target=client.loop_stop, daemon=True).start()

    # --- ``ClientCallbacks`` of paho_client -------------------------------------------------------

    def hand_over(self, handler: Callable[..., None], *arguments: Any) -> None:
        """Runs on paho's thread, for connection events. Ignored after the loop is closed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(handler, *arguments)

    def on_message(self, client: Client, message: MQTTMessage) -> None:
        """Runs on paho's thread, for each message: most messages of a flood are dropped here."""
        if self._handover is not None and _has_topic(message) and self._wiring.admits(message.topic):
            self._handover.put(client, message)

    def on_connack(self, client: Client, reason: ReasonCode, details: Properties | None) -> None:
        if reason.is_failure:
            why = describe(reason, details)
            log.warning("mqtt_connect_refused", extra=facts(host=self._config.host, reason=why))
            self._status.refused(of_connect(reason), why)
            self._lost.set()
            return
        if client is not self._candidate:
            client.disconnect()  # an abandoned attempt has succeeded late
            return
        self._client = client
        limits = self._sending.limits = BrokerLimits.of(details)
        log.info("mqtt_connected", extra=facts(host=self._config.host, port=self._config.port))
        self._status.connected(self._wiring.missing(limits))
        filters = self._wiring.allowed(limits)
        if filters:
            subscribe(client, filters)
        else:
            self._wiring.on_ready()

    def on_disconnect(
        self, client: Client, reason: ReasonCode, details: Properties | None, from_broker: bool
    ) -> None:
        if client is not self._client and client is not self._candidate:
            return  # a client of an abandoned attempt
        if client is self._client:
            self._client = None
            why = describe(reason, details)
            log.warning("mqtt_connection_lost", extra=facts(host=self._config.host, reason=why))
            self._status.lost(of_disconnect(reason) if from_broker else None, why, self._sending.lost())
        elif not self._lost.is_set():  # ended without CONNACK: TLS 1.3 reports a bad certificate this late
            log.info("mqtt_connect_failed", extra=facts(host=self._config.host, why=describe(reason)))
            self._status.unreachable()
        self._lost.set()

    def on_suback(self, client: Client, reasons: list[ReasonCode]) -> None:
        if client is self._client:
            self._status.subscribed(self._wiring.refused(self._sending.limits, reasons))
            self._wiring.on_ready()

    def on_puback(self, client: Client, mid: int, reason: ReasonCode, details: Properties | None) -> None:
        if client is self._client:
            self._sending.answered(mid, reason, details)

    def _deliver(self, client: Client, message: MQTTMessage) -> None:
        if client is self._client:
            self._wiring.on_message(_copy(message))


def _copy(message: MQTTMessage) -> Message:
    expires_in_s = getattr(message.properties, "MessageExpiryInterval", None)
    return Message(message.topic, bytes(message.payload), bool(message.retain), expires_in_s)


def _cut_unless(is_connected: Callable[[], bool], client: Client) -> asyncio.TimerHandle:
    """Cut a connection without CONNACK after ``CONNACK_TIMEOUT_S``; paho then reports it as lost."""

    def check() -> None:
        if not is_connected():
            cut(client)

    return asyncio.get_running_loop().call_later(CONNACK_TIMEOUT_S, check)


def _has_topic(message: MQTTMessage) -> bool:
    """Whether the topic is UTF-8. paho decodes on access, and an exception would end paho's thread."""
    try:
        return bool(message.topic)
    except UnicodeDecodeError:
        return False
