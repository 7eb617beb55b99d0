"""Making and connecting one paho client. Each callback is one hand-over to the loop, see ``link``."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.config import MqttConfig
from agent.config.tls_files import client_context, load_pair
from agent.errors import ConfigError
from agent.log import facts
from agent.mqtt.limits import BrokerLimits
from agent.mqtt.reason_codes import words
from agent.mqtt.status import Tell

log = logging.getLogger(__name__)

PACKET_MAX_BYTES = 256 * 1024
RECEIVE_MAX = 64  # messages with QoS 1 that the broker may send before it waits for an answer
PASSWORD_MAX_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in or out."""

    topic: str
    payload: bytes
    retained: bool = False
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a link is for. The functions are called on the asyncio loop."""

    client_id: str
    subscriptions: Sequence[tuple[str, int]]  # (filter, qos)
    on_message: Callable[[Message], None]
    on_up: Callable[[], None]  # connected and subscribed, again after each reconnect
    will: Message | None = None
    on_trouble: Tell = lambda _trouble, _there, _detail: None
    may_fail: frozenset[str] = frozenset()  # filters a broker may refuse without anything being wrong
    admits: Callable[[str], bool] = lambda _topic: True  # called on paho's thread, before a message is queued

    def allowed(self, limits: BrokerLimits) -> list[tuple[str, int]]:
        """The subscriptions that this broker can take: to send another one would be a protocol error."""
        return [(topic, qos) for topic, qos in self.subscriptions if limits.wildcards or not _is_wild(topic)]

    def missing(self, limits: BrokerLimits) -> str:
        """What this client needs and the broker lacks, in words; empty: nothing."""
        retained = self.will is not None and self.will.retained
        wildcards = any(_is_wild(topic) for topic, _ in self.subscriptions)
        return limits.missing(1, retained=retained, wildcards=wildcards)

    def refused(self, limits: BrokerLimits, reasons: Sequence[ReasonCode]) -> list[str]:
        """What a broker's answer to the allowed subscriptions refuses of what is needed, in words."""
        pairs = zip(self.allowed(limits), reasons, strict=False)
        failed = [(topic, reason) for (topic, _), reason in pairs if reason.is_failure]
        needed = [f"{topic}: {words(reason)}" for topic, reason in failed if topic not in self.may_fail]
        if needed:
            log.error("subscription_refused", extra=facts(refused=needed))
        return needed


def _is_wild(topic: str) -> bool:
    return "+" in topic or "#" in topic


class ClientCallbacks(Protocol):
    """Where news goes. paho's thread calls ``hand_over`` and ``received``, and the others through them."""

    def hand_over(self, handler: Callable[..., None], *arguments: Any) -> None: ...
    def received(self, client: Client, message: MQTTMessage) -> None: ...
    def came_up(self, client: Client, reason: ReasonCode, told: Properties | None) -> None: ...
    def went_down(
        self, client: Client, reason: ReasonCode, told: Properties | None, from_broker: bool
    ) -> None: ...
    def subscribed(self, client: Client, reasons: list[ReasonCode]) -> None: ...
    def answered(self, client: Client, mid: int, reason: ReasonCode, told: Properties | None) -> None: ...


def make_client(config: MqttConfig, wiring: Wiring, to: ClientCallbacks) -> Client:
    """A client that is not connected yet, with its certificates and password freshly read.

    Raises:
        ConfigError: one of those files cannot be used.
    """
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=wiring.client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    if config.tls:
        client.tls_set_context(trust(config))
    if config.username:
        client.username_pw_set(config.username, _password(config))
    if wiring.will is not None:
        client.will_set(wiring.will.topic, wiring.will.payload, qos=1, retain=wiring.will.retained)
    _wire(client, to)
    return client


def connect(client: Client, config: MqttConfig) -> bool:
    """Blocking: name, TCP, TLS, then the network thread. False when the broker is not to be had."""
    # session expiry 0: nothing is queued for us while we are away
    extra = properties(
        PacketTypes.CONNECT,
        SessionExpiryInterval=0,
        MaximumPacketSize=PACKET_MAX_BYTES,
        ReceiveMaximum=RECEIVE_MAX,
    )
    try:
        client.connect(
            config.host, config.port, keepalive=config.keepalive_s, clean_start=True, properties=extra
        )
    except (OSError, ValueError) as error:  # refused, unknown name, TLS, certificate
        log.info("link_failed", extra=facts(host=config.host, why=f"{type(error).__name__}: {error}"))
        return False
    client.loop_start()
    return True


def subscribe(client: Client, subscriptions: Sequence[tuple[str, int]]) -> None:
    """One packet for all, so that one answer says that all of them stand.

    ``retainAsPublished``: without it the broker hides the retain flag of a live message, and a request that
    was published retained by mistake would look like any other until the next reconnect.
    """
    wanted = [(topic, SubscribeOptions(qos=qos, retainAsPublished=True)) for topic, qos in subscriptions]
    client.subscribe(wanted)


def no_delay(sock: Any) -> None:
    """Send small packets at once: else Nagle's rule and delayed ACKs can hold an answer back for 40 ms."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def cut(client: Client) -> None:
    """Drop the connection now; paho then reports it as lost."""
    sock: Any = client.socket()  # a plain or TLS socket
    if sock is not None:
        with contextlib.suppress(OSError):  # it is gone already
            sock.shutdown(socket.SHUT_RDWR)


def properties(packet: int, **values: int) -> Properties:
    """MQTT 5 properties of one packet, by their specification names."""
    made = Properties(packet)  # type: ignore[no-untyped-call] # paho leaves it unannotated
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _wire(client: Client, to: ClientCallbacks) -> None:
    """No callback holds the client: in a cycle, its socket pair would meet the collector unclosed."""

    def on_connect(source: Client, _u: Any, _flags: Any, reason: ReasonCode, told: Any) -> None:
        to.hand_over(to.came_up, source, reason, told)

    def on_disconnect(source: Client, _u: Any, flags: DisconnectFlags, reason: ReasonCode, told: Any) -> None:
        to.hand_over(to.went_down, source, reason, told, flags.is_disconnect_packet_from_server)

    def on_publish(source: Client, _u: Any, mid: int, reason: ReasonCode, told: Any) -> None:
        to.hand_over(to.answered, source, mid, reason, told)

    def on_subscribe(source: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Any) -> None:
        to.hand_over(to.subscribed, source, reasons)

    def on_message(source: Client, _u: Any, message: MQTTMessage) -> None:
        try:
            to.received(source, message)
        except Exception:  # it would end paho's thread, and the client would look connected
            log.exception("bug_in_received")

    client.on_connect, client.on_disconnect, client.on_publish = on_connect, on_disconnect, on_publish
    client.on_subscribe, client.on_message = on_subscribe, on_message
    client.on_socket_open = lambda _client, _u, sock: no_delay(sock)


def trust(config: MqttConfig) -> ssl.SSLContext:
    """Server and client certificates, freshly read. Raises ``ConfigError``, which names the file."""
    context = client_context("mqtt.ca_file", config.ca_file)
    if config.cert_file is not None:
        load_pair(context, "mqtt", config.cert_file, config.key_file)
    return context


def _password(config: MqttConfig) -> str | None:
    if config.password_file is None:
        return None
    try:
        with config.password_file.open("rb") as file:
            return file.read(PASSWORD_MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file {config.password_file}: cannot be read") from error
