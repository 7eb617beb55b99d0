"""Creates and connects one paho client, within the limits that the broker announces in its CONNACK."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.config import MqttConfig
from agent.config.tls_files import client_context, load_pair
from agent.errors import ConfigError
from agent.log import facts
from agent.mqtt.connect_failure import ConnectFailure, failure_of
from agent.mqtt.lenient_client import LenientClient
from agent.mqtt.loop_queue import WAITING_MAX
from agent.mqtt.reason_codes import describe
from agent.mqtt.status import ReportProblem
from agent.safe_open import read_plain
from agent.texts import Text

log = logging.getLogger(__name__)

PACKET_MAX_BYTES = 256 * 1024
RECEIVE_MAX = 64  # QoS 1 messages that the broker may send before it waits for a PUBACK
PASSWORD_MAX_BYTES = 4_096
FIXED_HEADER_BYTES = 5  # one byte of type, at most four of length
VARIABLE_HEADER_BYTES = 2 + 2 + 1 + 5  # topic length, message id, property length, message expiry interval


@dataclass(frozen=True, slots=True)
class Message:
    """One message, received or to publish."""

    topic: str
    payload: bytes
    retained: bool = False
    expires_in_s: int | None = None

    @classmethod
    def of(cls, received: MQTTMessage) -> Message:
        """A copy of a message whose topic is UTF-8."""
        expires_in_s = getattr(received.properties, "MessageExpiryInterval", None)
        return cls(received.topic, bytes(received.payload), bool(received.retain), expires_in_s)

    @property
    def packet_bytes(self) -> int:
        """Upper bound of the size of the PUBLISH packet for this message."""
        return FIXED_HEADER_BYTES + VARIABLE_HEADER_BYTES + len(self.topic.encode()) + len(self.payload)


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The limits in a CONNACK (MQTT 5.0, 3.2.2.3). The defaults are those without properties: no limit.

    Attributes:
        packet_max_bytes: of a whole packet; None: no limit.
        in_flight_max: messages with QoS 1 that may be unanswered, 1–65 535.
    """

    packet_max_bytes: int | None = None
    qos_max: int = 2
    supports_retain: bool = True
    in_flight_max: int = 65_535
    supports_wildcards: bool = True

    @classmethod
    def of(cls, properties: Properties | None) -> BrokerLimits:
        """The announced limits; an absent property has the default of the standard."""
        return cls(
            getattr(properties, "MaximumPacketSize", None),
            getattr(properties, "MaximumQoS", 2),
            getattr(properties, "RetainAvailable", 1) == 1,
            getattr(properties, "ReceiveMaximum", 65_535),
            getattr(properties, "WildcardSubscriptionAvailable", 1) == 1,
        )


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Id, subscriptions, will and callbacks of a client. Callbacks run on the loop, except ``admits``."""

    client_id: str
    subscriptions: Sequence[tuple[str, int]]  # (filter, qos)
    on_message: Callable[[Message], None]
    on_ready: Callable[[], None]  # connected and subscribed; called again after each reconnect
    will: Message | None = None
    on_problem: ReportProblem = lambda _problem, _active, _detail: None
    optional_filters: frozenset[str] = frozenset()  # filters whose refusal by the broker is no fault
    admits: Callable[[str], bool] = lambda _topic: True  # on paho's thread, before a message is queued
    waiting_max: int = WAITING_MAX  # messages that wait for the loop; further ones are dropped and counted

    def allowed_subscriptions(self, limits: BrokerLimits) -> list[tuple[str, int]]:
        """The subscriptions that this broker supports; an unsupported one would be a protocol error."""
        return [
            (topic_filter, qos)
            for topic_filter, qos in self.subscriptions
            if limits.supports_wildcards or not _is_wild(topic_filter)
        ]

    def missing_features(self, limits: BrokerLimits) -> str:
        """The features that this client needs and the broker lacks, as English text; empty when none."""
        needs_retain = self.will is not None and self.will.retained
        needs_wildcards = any(_is_wild(topic_filter) for topic_filter, _ in self.subscriptions)
        missing = [f"QoS 1 (at most {limits.qos_max})"] * (limits.qos_max < 1)
        missing += ["retained messages"] * (needs_retain and not limits.supports_retain)
        missing += ["wildcard subscriptions"] * (needs_wildcards and not limits.supports_wildcards)
        return ", ".join(missing)

    def refused_filters(self, limits: BrokerLimits, reasons: Sequence[ReasonCode]) -> list[Text]:
        """The needed filters that a SUBACK refuses, with reason. ``reasons``: one per allowed filter."""
        pairs = zip(self.allowed_subscriptions(limits), reasons, strict=False)
        failed = [(topic_filter, reason) for (topic_filter, _), reason in pairs if reason.is_failure]
        needed = [
            (topic_filter, describe(reason))
            for topic_filter, reason in failed
            if topic_filter not in self.optional_filters
        ]
        if needed:
            log.error(
                "subscription_refused",
                extra=facts(refused=[f"{topic_filter}: {why}" for topic_filter, why in needed]),
            )
        return [Text("detail.at", place=topic_filter, reason=why) for topic_filter, why in needed]


def _is_wild(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def make_client(config: MqttConfig, options: ClientOptions) -> Client:
    """A client without callbacks and not connected. Certificates and password are read from their files.

    Raises:
        ConfigError: a file is missing or unusable.
    """
    client = LenientClient(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        transport=config.transport,
        reconnect_on_failure=False,
    )
    client.ws_set_options(config.websocket_path)
    if config.tls:
        client.tls_set_context(tls_context(config))
    if config.username:
        client.username_pw_set(config.username, _password(config))
    if options.will is not None:
        client.will_set(options.will.topic, options.will.payload, qos=1, retain=options.will.retained)
    client.on_socket_open = lambda _client, _userdata, sock: no_delay(sock)
    return client


def connect(client: Client, config: MqttConfig) -> ConnectFailure | None:
    """Resolve, connect, TLS handshake, start the network thread. Blocks. Returns the failure of a step."""
    properties = make_properties(
        PacketTypes.CONNECT,
        SessionExpiryInterval=0,  # the broker queues nothing for this client while it is away
        MaximumPacketSize=PACKET_MAX_BYTES,
        ReceiveMaximum=RECEIVE_MAX,
    )
    try:
        client.connect(
            config.host, config.port, keepalive=config.keepalive_s, clean_start=True, properties=properties
        )
    except (OSError, ValueError) as error:  # refused, unknown name, TLS, certificate
        why = f"{type(error).__name__}: {error}"
        log.info("mqtt_connect_failed", extra=facts(host=config.host, why=why))
        return failure_of(error, tls=config.tls)
    try:
        client.loop_start()
    except RuntimeError:  # the system allows no further thread
        close_abruptly(client)
        return ConnectFailure(Text("errno.EAGAIN"))
    return None


def subscribe(client: Client, subscriptions: Sequence[tuple[str, int]]) -> None:
    """Subscribe to all filters in one packet, so that one SUBACK confirms all of them.

    ``retainAsPublished``: without this option the broker hides the retain flag of a live message. A request
    that was published retained by mistake would not be detected until the next reconnect.
    """
    filters = [
        (topic_filter, SubscribeOptions(qos=qos, retainAsPublished=True))
        for topic_filter, qos in subscriptions
    ]
    client.subscribe(filters)


def no_delay(sock: Any) -> None:
    """Send small packets at once: Nagle's rule with delayed ACKs can delay a message by 40 ms."""
    with _tcp_socket(sock) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tcp_socket(sock: Any) -> socket.socket:
    """A copy for the TCP connection of a paho socket: its WebSocket has neither options nor ``shutdown``."""
    return socket.socket(fileno=os.dup(sock.fileno()))


def close_abruptly(client: Client) -> None:
    """Drop the connection without DISCONNECT; paho then reports the connection as lost."""
    sock: Any = client.socket()  # a plain socket, TLS or a WebSocket
    if sock is not None:
        with contextlib.suppress(OSError), _tcp_socket(sock) as tcp:  # closed already
            tcp.shutdown(socket.SHUT_RDWR)


def make_properties(packet: int, **values: int) -> Properties:
    """MQTT 5 properties of one packet, by their specification names."""
    properties = Properties(packet)  # type: ignore[no-untyped-call] # paho leaves it unannotated
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def tls_context(config: MqttConfig) -> ssl.SSLContext:
    """TLS context with server CA and client certificate, read now. Raises ``ConfigError`` with the file."""
    context = client_context("mqtt.ca_file", config.ca_file)
    if config.cert_file is not None:
        load_pair(context, "mqtt", config.cert_file, config.key_file)
    if config.alpn:
        context.set_alpn_protocols([config.alpn])
    return context


def _password(config: MqttConfig) -> str | None:
    """``read_plain``, because a pipe in place of the file must not block the event loop."""
    if config.password_file is None:
        return None
    try:
        return read_plain(config.password_file, PASSWORD_MAX_BYTES, links=True).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(Text("detail.password_unreadable", path=config.password_file)) from error
