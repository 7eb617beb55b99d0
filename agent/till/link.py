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
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import ConfigError, TillError
from agent.log import facts
from agent.till.link_client import Message, Wiring, connect, cut, make_client, properties, subscribe
from agent.till.link_trouble import Troubles
from agent.till.puback import Pubacks

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CONNACK_TIMEOUT_S = 5.0  # a broker that takes the connection and says nothing is not there
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # then the last for ever
PUBACK_TIMEOUT_S = 5.0
IN_FLIGHT_MAX = 20  # paho sends so many unanswered; more would wait in it, beyond the reach of any deadline
NO_SUBSCRIBER = 16  # MQTT 5 reason "no matching subscribers": accepted by the broker, delivered to nobody
TAKEN_OVER = 142  # MQTT 5 reason "session taken over": somebody else connected with our client id


class Link:
    """Keeps one connection to the broker, for ever. All methods belong to the asyncio loop."""

    def __init__(self, config: MqttConfig, wiring: Wiring) -> None:
        self._config = config
        self._wiring = wiring
        self._client: Client | None = None  # the connected one
        self._pubacks = Pubacks()
        self._lost = asyncio.Event()
        self._candidate: Client | None = None  # the newest one made: no older one may come up late
        self._troubles = Troubles(wiring.on_trouble)
        self._keeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def start(self) -> None:
        """Connect in the background; a broker that is away is tried again for ever.

        Raises:
            ConfigError: a certificate, key or password file that cannot be read.
        """
        self._loop = asyncio.get_running_loop()
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
        self._pubacks.lost()
        if client is not None:
            client.disconnect()
            await _in_thread(client.loop_stop, 2.0)

    async def publish(self, message: Message, qos: int = 1) -> bool:
        """Send, and with QoS 1 wait for the broker. True: somebody is subscribed, as far as it tells.

        Raises:
            TillError: ``link_down`` (offline, or lost before the broker answered: it may have been sent) or
                ``publish_refused`` with the broker's reason.
        """
        client = self._client
        if client is None:
            raise TillError("not connected to the broker", code="link_down")
        if self._pubacks.unanswered >= IN_FLIGHT_MAX:
            raise TillError("the broker owes too many answers", code="link_down")
        expiry = {} if message.expires_in_s is None else {"MessageExpiryInterval": message.expires_in_s}
        extra = properties(PacketTypes.PUBLISH, **expiry)
        info = client.publish(message.topic, message.payload, qos, message.retained, extra)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise TillError(f"publish: {info.rc.name}", code="link_down")
        if qos == 0:
            return True
        try:
            async with asyncio.timeout(PUBACK_TIMEOUT_S):
                return await self._pubacks.wait(info.mid)
        except TimeoutError:
            cut(client)  # else paho would keep it, and send it whenever the broker comes to itself
            raise TillError("the broker did not answer a publish", code="link_down") from None

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
        """The one thing that runs on paho's thread. A closed loop has nobody left who waits for news."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(handler, *arguments)

    def came_up(self, client: Client, reason: ReasonCode) -> None:
        if reason.is_failure:
            log.warning("link_refused", extra=facts(host=self._config.host, reason=reason))
            self._troubles.refused()
            self._lost.set()
            return
        if client is not self._candidate:
            client.disconnect()  # a connect that was given up has come through after all
            return
        self._client = client
        log.info("link_up", extra=facts(host=self._config.host, port=self._config.port))
        self._troubles.connected()
        if self._wiring.subscriptions:
            subscribe(client, self._wiring.subscriptions)
        else:
            self._wiring.on_up()

    def went_down(self, client: Client, reason: ReasonCode) -> None:
        if client is not self._client and client is not self._candidate:
            return  # one that was given up long ago
        if client is self._client:
            self._client = None
            self._pubacks.lost()
            log.warning("link_lost", extra=facts(host=self._config.host, reason=reason))
            self._troubles.lost(taken_over=reason.value == TAKEN_OVER)
        elif not self._lost.is_set():  # neither taken nor refused: TLS 1.3 says a bad certificate so late
            log.info("link_failed", extra=facts(host=self._config.host, why=f"hung up on: {reason}"))
            self._troubles.unreachable()
        self._lost.set()

    def subscribed(self, client: Client, reasons: list[ReasonCode]) -> None:
        if client is not self._client:
            return
        refused = self._wiring.refused(reasons)
        if refused:
            log.error("subscription_refused", extra=facts(refused=refused))
        self._troubles.subscribed(whole=not refused)
        self._wiring.on_up()

    def answered(self, client: Client, mid: int, reason: ReasonCode) -> None:
        if client is self._client:
            refusal = str(reason) if reason.is_failure else ""
            self._pubacks.answered(mid, refusal=refusal, heard=reason.value != NO_SUBSCRIBER)

    def arrived(self, client: Client, message: MQTTMessage) -> None:
        if client is self._client:
            self._wiring.on_message(_message(message))


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
