"""The publishes of one connection: their PUBACKs, their time limit, and the limits that the broker announced.

A message that breaks a limit is refused here, because the broker would end the connection for such a message
and cut all other messages with it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.errors import TillError
from agent.mqtt.paho_client import BrokerLimits, Message, close_abruptly, make_properties
from agent.mqtt.reason_codes import describe, problem_of_puback
from agent.mqtt.status import BrokerStatus, SentPacket
from agent.texts import Text

PUBLISH_CUT = "publish_cut"  # the connection ended between PUBLISH and PUBACK: this message may be the cause
PUBACK_TIMEOUT_S = 5.0
IN_FLIGHT_MAX = 20  # paho sends 20 unanswered messages; further ones wait inside paho, without any deadline
NO_SUBSCRIBER = 16  # MQTT 5 reason "no matching subscribers": accepted by the broker, delivered to no client


class Publisher:
    """Belongs to one ``Connection`` and its event loop. ``limits``: of the broker, new at each CONNACK."""

    def __init__(self, status: BrokerStatus) -> None:
        self._status = status
        self._puback_futures: dict[int, asyncio.Future[bool]] = {}  # by message id, while the caller waits
        self._unacknowledged: dict[int, SentPacket] = {}  # by message id, until the PUBACK
        self._slot_changed = asyncio.Event()
        self.limits = BrokerLimits()

    async def publish(self, client: Client, message: Message, qos: int) -> bool:
        """See ``Connection.publish``. A broker without QoS 1 gets QoS 0; the result is then False."""
        sent = self._within_limits(message)
        qos = min(qos, self.limits.qos_max)
        if qos and len(self._unacknowledged) >= IN_FLIGHT_MAX:
            raise TillError(Text("detail.publishes_wait", most=IN_FLIGHT_MAX), code="link_down")
        async with _answer_in_time(client, PUBACK_TIMEOUT_S if qos else None):
            if not qos:
                _send(client, message, qos)
                return False
            await self._wait_for_slot()
            mid = _send(client, message, qos)
            # before the loop runs again: otherwise the PUBACK can be missed
            self._puback_futures[mid] = asyncio.get_running_loop().create_future()
            self._unacknowledged[mid] = sent
            try:
                return await self._puback_futures[mid]
            finally:
                self._puback_futures.pop(mid, None)

    async def wait_until_free(self, client: Client) -> None:
        """Wait until a publish can be sent at once. Raises ``TillError`` (``publish_cut``)."""
        async with _answer_in_time(client, PUBACK_TIMEOUT_S):
            await self._wait_for_slot()

    def handle_puback(self, mid: int, reason: ReasonCode, properties: Properties | None) -> None:
        """End the publish with this message id, as accepted or refused."""
        refusal = describe(reason, properties) if reason.is_failure else None
        sent = self._unacknowledged.pop(mid, None)
        self._slot_changed.set()
        answer = self._puback_futures.get(mid)
        if answer is not None and not answer.done():
            if refusal:
                answer.set_exception(
                    TillError(Text("detail.broker_refused", refusal=refusal), code="publish_refused")
                )
            else:
                answer.set_result(reason.value != NO_SUBSCRIBER)
        if sent is not None:
            self._status.note_puback(
                sent, problem_of_puback(reason.value) if refusal else None, refusal or ""
            )

    def fail_unanswered(self) -> Iterable[SentPacket]:
        """The connection ended: fail and return all unanswered publishes. The messages may have arrived."""
        for answer in self._puback_futures.values():
            if not answer.done():
                answer.set_exception(TillError(Text("detail.cut_before_puback"), code=PUBLISH_CUT))
        unanswered = tuple(self._unacknowledged.values())
        self._puback_futures.clear()
        self._unacknowledged.clear()
        self._slot_changed.set()
        return unanswered

    async def _wait_for_slot(self) -> None:
        while len(self._unacknowledged) >= min(self.limits.in_flight_max, IN_FLIGHT_MAX):
            self._slot_changed.clear()
            await self._slot_changed.wait()

    def _within_limits(self, message: Message) -> SentPacket:
        sent = SentPacket(message.topic, message.packet_bytes)
        max_bytes = self.limits.packet_max_bytes
        if max_bytes is not None and sent.size_bytes > max_bytes:
            detail = Text("detail.packet_too_large", sent=sent, most=max_bytes)
            self._status.note_too_large((sent,), detail)
            raise TillError(detail, code="packet_too_large")
        if message.retained and not self.limits.supports_retain:
            fix = Text("condition.mqtt_broker_limits.fix")
            raise TillError(Text("detail.no_retained"), code="publish_refused", fix=fix)
        return sent


@contextlib.asynccontextmanager
async def _answer_in_time(client: Client, timeout_s: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        close_abruptly(client)  # otherwise paho keeps the message and sends it when the broker answers again
        raise TillError(Text("detail.no_puback", limit_s=PUBACK_TIMEOUT_S), code=PUBLISH_CUT) from None


def _send(client: Client, message: Message, qos: int) -> int:
    """The message id. Raises ``TillError`` (``link_down``)."""
    expiry = {} if message.expires_in_s is None else {"MessageExpiryInterval": message.expires_in_s}
    properties = make_properties(PacketTypes.PUBLISH, **expiry)
    info = client.publish(message.topic, message.payload, qos, message.retained, properties)
    if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
        raise TillError(Text("detail.publish_failed", name=info.rc.name), code="link_down")
    return info.mid
