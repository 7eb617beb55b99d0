"""Thousands of MQTT connections on one asyncio loop, for load tests, for any role, without reconnects.

``mqtt.connection`` uses a thread per connection, which is limited to some hundreds. Here paho's external-loop
hooks drive the sockets. A lost connection stays lost and is counted: a load test must show the loss.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt import paho_client
from agent.mqtt.connect_failure import failure_of, failure_without_connack
from agent.mqtt.paho_client import BrokerLimits, ClientOptions, Message, make_client
from agent.mqtt.reachability import client_error
from agent.mqtt.reason_codes import BrokerProblem, describe, problem_of_connack, problem_of_puback
from agent.tasks import end_tasks
from agent.texts import Text

KEEPALIVE_EVERY_S = 5.0
UP_TIMEOUT_S = 30.0


class LoadConnections:
    """Opens connections of one configuration, sends their keepalives, and closes all of them.

    Attributes:
        refusal: the first message that the broker refused; None: it refused none.
    """

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._tls = paho_client.tls_context(config) if config.tls else None
        self._members: list[LoadConnection] = []
        self._keepalive_task: asyncio.Task[None] | None = None
        self.refusal: TillError | None = None

    async def join(
        self,
        client_id: str,
        filters: Sequence[str],
        on_message: Callable[[Message], None],
        will: Message | None = None,
    ) -> LoadConnection:
        """Connect and subscribe (QoS 1). Raises ``TillError`` after 30 s, or for a refusal."""
        if self._keepalive_task is None:
            self._keepalive_task = asyncio.create_task(self._keep_alive())
        subscriptions = [(each, 1) for each in filters]
        options = ClientOptions(client_id, subscriptions, on_message, lambda: None, will)
        member = LoadConnection(options, self._config, self._tls, self._note_refusal)
        try:
            await member.connect()
        except BaseException:  # also a cancelled one: without DISCONNECT the broker publishes its will
            member.close()
            raise
        self._members.append(member)
        return member

    @property
    def lost(self) -> int:
        """The number of connections that were up and are down now."""
        return sum(not member.up for member in self._members)

    async def close(self) -> None:
        await end_tasks(self._keepalive_task)
        for member in self._members:
            member.close()

    def _note_refusal(self, error: TillError) -> None:
        self.refusal = self.refusal or error

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_EVERY_S)
            for number, member in enumerate(self._members):
                member.keep_alive()
                if number % 100 == 0:
                    await asyncio.sleep(0)


class _EndedEarly(Exception):
    """The connection ended before its first SUBACK."""


class LoadConnection:
    """One connection. All callbacks run on the event loop."""

    def __init__(
        self,
        options: ClientOptions,
        config: MqttConfig,
        tls: ssl.SSLContext | None,
        on_refusal: Callable[[TillError], None],
    ) -> None:
        """``tls``: the context that all connections share. ``on_refusal``: for each refused message."""
        self._loop = asyncio.get_running_loop()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._options, self._config = options, config
        self.up = False
        self._on_refusal = on_refusal
        client = self._client = make_client(config.model_copy(update={"tls": False}), options)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_subscribe, client.on_publish = self._suback_received, self._puback_received
        client.on_message = lambda _c, _u, each: options.on_message(Message.of(each))
        client.on_socket_open, client.on_socket_close = self._socket_opened, self._socket_closed
        loop = self._loop
        client.on_socket_register_write = lambda _c, _u, sock: loop.add_writer(sock, client.loop_write)
        client.on_socket_unregister_write = self._remove_writer

    async def connect(self) -> None:
        """Connect and subscribe. After any exception the caller must call ``close``. Raises ``TillError``."""
        config = self._config
        extra = paho_client.make_properties(PacketTypes.CONNECT, SessionExpiryInterval=0)
        try:
            self._client.connect(
                config.host, config.port, keepalive=config.keepalive_s, clean_start=True, properties=extra
            )
            async with asyncio.timeout(UP_TIMEOUT_S):
                await self._subscribed
        except TimeoutError as error:
            raise client_error(config, BrokerProblem.UNREACHABLE, Text("detail.no_answer_in_time")) from error
        except _EndedEarly as error:
            failure = await asyncio.to_thread(failure_without_connack, config)
            raise client_error(config, failure.problem, failure.why) from error
        except (OSError, ValueError) as error:
            failure = failure_of(error, tls=config.tls)
            raise client_error(config, failure.problem, failure.why) from error

    def publish(self, message: Message, qos: int = 1) -> bool:
        """Queue a message for sending; False: the connection is lost."""
        info = self._client.publish(message.topic, message.payload, qos, message.retained)
        return info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def keep_alive(self) -> None:
        if self.up:
            self._client.loop_misc()

    def close(self) -> None:
        """Send DISCONNECT without waiting for the socket."""
        self._client.disconnect()
        self._client.loop_write()

    def _connected(self, _c: Client, _u: Any, _flags: Any, reason: ReasonCode, details: Any) -> None:
        if reason.is_failure:
            self._fail(client_error(self._config, problem_of_connack(reason), describe(reason, details)))
            return
        self.up = True
        if self._options.subscriptions:
            paho_client.subscribe(self._client, self._options.subscriptions)
        else:
            self._subscribed.set_result(None)

    def _suback_received(self, _c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Any) -> None:
        refused = self._options.refused_filters(BrokerLimits(), reasons)
        if refused:
            self._fail(client_error(self._config, BrokerProblem.SUBSCRIPTION_REFUSED, refused[0]))
        elif not self._subscribed.done():
            self._subscribed.set_result(None)

    def _puback_received(self, _c: Client, _u: Any, _mid: int, reason: ReasonCode, details: Any) -> None:
        if reason.is_failure:
            self._on_refusal(
                client_error(self._config, problem_of_puback(reason.value), describe(reason, details))
            )

    def _disconnected(self, _c: Client, _u: Any, _flags: Any, _reason: ReasonCode, _p: Any) -> None:
        self.up = False
        self._fail(_EndedEarly())

    def _fail(self, error: Exception) -> None:
        if not self._subscribed.done():
            self._subscribed.set_exception(error)

    def _remove_writer(self, _c: Client, _u: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _socket_opened(self, client: Client, _u: Any, sock: Any) -> None:
        paho_client.no_delay(sock)
        self._loop.add_reader(sock, client.loop_read)

    def _socket_closed(self, _c: Client, _u: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)
