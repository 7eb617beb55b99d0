"""Publishes on one connection at a time, within the limits that the broker announced.

A message that breaks a limit is refused here, because the broker would end the connection for such a message
and cut all other messages with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.errors import TillError
from agent.mqtt.limits import BrokerLimits, packet_bytes
from agent.mqtt.paho_client import Message, cut, make_properties
from agent.mqtt.pubacks import Pubacks, Sent
from agent.mqtt.reason_codes import describe, of_puback
from agent.mqtt.status import BrokerStatus

PUBACK_TIMEOUT_S = 5.0
IN_FLIGHT_MAX = 20  # paho sends 20 unanswered messages; further ones wait inside paho, without any deadline
NO_SUBSCRIBER = 16  # MQTT 5 reason "no matching subscribers": accepted by the broker, delivered to no client


class Sending:
    """Belongs to one ``Connection`` and its loop. ``limits`` are those of the present connection."""

    def __init__(self, status: BrokerStatus) -> None:
        self._status = status
        self._pubacks = Pubacks()
        self.limits = BrokerLimits()

    def lost(self) -> Iterable[Sent]:
        """The connection ended: fail all waiting publishes, return the unanswered ones."""
        return self._pubacks.lost()

    def answered(self, mid: int, reason: ReasonCode, details: Properties | None) -> None:
        """A PUBACK arrived."""
        refusal = describe(reason, details) if reason.is_failure else ""
        sent = self._pubacks.answered(mid, refusal=refusal, delivered=reason.value != NO_SUBSCRIBER)
        if sent is not None:
            self._status.answered(sent, of_puback(reason.value) if refusal else None, refusal)

    async def publish(self, client: Client, message: Message, qos: int) -> bool:
        """See ``Connection.publish``. A broker without QoS 1 gets QoS 0; the result is then False."""
        sent = self._checked(message)
        qos = min(qos, self.limits.qos_max)
        if qos and self._pubacks.unanswered >= IN_FLIGHT_MAX:
            raise TillError(f"{IN_FLIGHT_MAX} publishes wait for a PUBACK", code="link_down")
        async with _answer_in_time(client, PUBACK_TIMEOUT_S if qos else None):
            if qos:
                await self._pubacks.wait_below(self.limits.in_flight_max)
            mid = _send(client, message, qos)
            return await self._pubacks.wait(mid, sent) if qos else False

    async def wait_until_free(self, client: Client) -> None:
        """Wait until a publish can be sent at once. Raises ``TillError`` (``publish_cut``)."""
        async with _answer_in_time(client, PUBACK_TIMEOUT_S):
            await self._pubacks.wait_below(self.limits.in_flight_max)

    def _checked(self, message: Message) -> Sent:
        sent = Sent(message.topic, packet_bytes(message.topic, message.payload))
        most = self.limits.packet_max_bytes
        if most is not None and sent.size_bytes > most:
            detail = f"{sent}; the broker accepts at most {most} bytes"
            self._status.too_large((sent,), detail)
            raise TillError(detail, code="packet_too_large")
        if message.retained and not self.limits.retain:
            raise TillError("the broker does not support retained messages", code="publish_refused")
        return sent


@contextlib.asynccontextmanager
async def _answer_in_time(client: Client, timeout_s: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        cut(client)  # otherwise paho keeps the message and sends it when the broker answers again
        raise TillError(f"no PUBACK within {PUBACK_TIMEOUT_S:g} s", code="publish_cut") from None


def _send(client: Client, message: Message, qos: int) -> int:
    """The message id. Raises ``TillError`` (``link_down``)."""
    expiry = {} if message.expires_in_s is None else {"MessageExpiryInterval": message.expires_in_s}
    extra = make_properties(PacketTypes.PUBLISH, **expiry)
    info = client.publish(message.topic, message.payload, qos, message.retained, extra)
    if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
        raise TillError(f"publish: {info.rc.name}", code="link_down")
    return info.mid
