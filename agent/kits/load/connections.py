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
from agent.mqtt.paho_client import ClientOptions, Message, make_client
from agent.texts import Text

KEEPALIVE_EVERY_S = 5.0
UP_TIMEOUT_S = 30.0


class LoadConnections:
    """Opens connections of one configuration, sends their keepalives, and closes all of them."""

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._tls = paho_client.tls_context(config) if config.tls else None
        self._members: list[LoadConnection] = []
        self._keepalive_task: asyncio.Task[None] | None = None

    async def join(
        self,
        client_id: str,
        filters: Sequence[str],
        on_message: Callable[[Message], None],
        will: Message | None = None,
    ) -> LoadConnection:
        """Connect and subscribe (QoS 1). Raises ``TillError`` (``link_down``) after 30 s or on a refusal."""
        if self._keepalive_task is None:
            self._keepalive_task = asyncio.create_task(self._keep_alive())
        subscriptions = [(each, 1) for each in filters]
        options = ClientOptions(client_id, subscriptions, on_message, lambda: None, will)
        member = LoadConnection(options, self._config, self._tls)
        await member.connect(self._config)
        self._members.append(member)
        return member

    @property
    def lost(self) -> int:
        """The number of connections that were up and are down now."""
        return sum(not member.up for member in self._members)

    async def close(self) -> None:
        if self._keepalive_task is not None:
            self._keepalive_task.cancel()
            await asyncio.gather(self._keepalive_task, return_exceptions=True)
        for member in self._members:
            member.close()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_EVERY_S)
            for number, member in enumerate(self._members):
                member.keep_alive()
                if number % 100 == 0:
                    await asyncio.sleep(0)


class LoadConnection:
    """One connection. All callbacks run on the event loop."""

    def __init__(self, options: ClientOptions, config: MqttConfig, tls: ssl.SSLContext | None) -> None:
        """``tls``: the context that all connections share."""
        self._loop = asyncio.get_running_loop()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._filters = options.subscriptions
        self.up = False
        client = self._client = make_client(config.model_copy(update={"tls": False}), options)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_subscribe = self._suback_received
        client.on_message = lambda _c, _u, each: options.on_message(Message.of(each))
        client.on_socket_open, client.on_socket_close = self._socket_opened, self._socket_closed
        loop = self._loop
        client.on_socket_register_write = lambda _c, _u, sock: loop.add_writer(sock, client.loop_write)
        client.on_socket_unregister_write = self._remove_writer

    async def connect(self, config: MqttConfig) -> None:
        extra = paho_client.make_properties(PacketTypes.CONNECT, SessionExpiryInterval=0)
        try:
            self._client.connect(
                config.host, config.port, keepalive=config.keepalive_s, clean_start=True, properties=extra
            )
            async with asyncio.timeout(UP_TIMEOUT_S):
                await self._subscribed
        except (OSError, TimeoutError) as error:
            self.close()
            raise _down(error.strerror if isinstance(error, OSError) else "no answer") from error

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

    def _connected(self, _c: Client, _u: Any, _flags: Any, reason: ReasonCode, _p: Any) -> None:
        if reason.is_failure:
            self._fail(f"refused: {reason}")
            return
        self.up = True
        if self._filters:
            paho_client.subscribe(self._client, self._filters)
        else:
            self._subscribed.set_result(None)

    def _suback_received(self, _c: Client, _u: Any, _mid: int, _reasons: Any, _p: Any) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(None)

    def _disconnected(self, _c: Client, _u: Any, _flags: Any, reason: ReasonCode, _p: Any) -> None:
        self.up = False
        self._fail(f"lost: {reason}")

    def _fail(self, cause: str) -> None:
        if not self._subscribed.done():
            self._subscribed.set_exception(_down(cause))

    def _remove_writer(self, _c: Client, _u: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _socket_opened(self, client: Client, _u: Any, sock: Any) -> None:
        paho_client.no_delay(sock)
        self._loop.add_reader(sock, client.loop_read)

    def _socket_closed(self, _c: Client, _u: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)


def _down(cause: str | None) -> TillError:
    why = f"the broker does not take these clients: {cause or 'no answer'}"
    return TillError(why, code="link_down", fix=Text("fix.load_clients_refused"))
