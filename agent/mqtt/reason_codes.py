"""MQTT 5 reason codes of CONNACK, DISCONNECT and PUBACK: condition and description of each code.

Source: MQTT 5.0, 2.4 "Reason Code" and the tables of 3.2.2.2, 3.4.2.1 and 3.14.2.1.
"""

from __future__ import annotations

from enum import StrEnum

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

TEXT_MAX_CHARS = 120


class BrokerProblem(StrEnum):
    """A fault of the broker connection. The values are codes of ``health.conditions``."""

    UNREACHABLE = "mqtt_unreachable"
    REFUSED = "mqtt_refused"
    BANNED = "mqtt_banned"
    PROTOCOL = "mqtt_protocol_refused"
    CLIENT_ID = "mqtt_client_id_refused"
    BUSY = "mqtt_broker_busy"
    QUOTA = "mqtt_quota_exceeded"
    LIMITS = "mqtt_broker_limits"
    MOVED = "mqtt_broker_moved"
    FAULT = "mqtt_broker_fault"
    SUBSCRIPTION_REFUSED = "mqtt_subscription_refused"
    PUBLISH_REFUSED = "mqtt_publish_refused"
    TOO_LARGE = "mqtt_message_not_taken"
    TAKEN_OVER = "mqtt_client_id_taken"
    CLONED = "terminal_cloned"  # raised when ``state`` is received; cleared by ``BrokerStatus``


REFUSING = frozenset(
    {
        BrokerProblem.REFUSED,
        BrokerProblem.BANNED,
        BrokerProblem.PROTOCOL,
        BrokerProblem.CLIENT_ID,
        BrokerProblem.BUSY,
        BrokerProblem.QUOTA,
        BrokerProblem.LIMITS,
        BrokerProblem.MOVED,
        BrokerProblem.FAULT,
    }
)
"""The broker answered and refused to serve this client."""

_OF_CODE = {
    0x81: BrokerProblem.PROTOCOL,  # malformed packet
    0x82: BrokerProblem.PROTOCOL,  # protocol error
    0x84: BrokerProblem.PROTOCOL,  # unsupported protocol version
    0x85: BrokerProblem.CLIENT_ID,
    0x86: BrokerProblem.REFUSED,  # bad user name or password
    0x87: BrokerProblem.REFUSED,  # not authorized
    0x88: BrokerProblem.BUSY,  # server unavailable
    0x89: BrokerProblem.BUSY,  # server busy
    0x8A: BrokerProblem.BANNED,
    0x8B: BrokerProblem.BUSY,  # server shutting down
    0x8C: BrokerProblem.REFUSED,  # bad authentication method
    0x8E: BrokerProblem.TAKEN_OVER,
    0x8F: BrokerProblem.LIMITS,  # topic filter invalid
    0x90: BrokerProblem.LIMITS,  # topic name invalid
    0x93: BrokerProblem.LIMITS,  # receive maximum exceeded
    0x95: BrokerProblem.TOO_LARGE,
    0x96: BrokerProblem.QUOTA,  # message rate too high
    0x97: BrokerProblem.QUOTA,
    0x98: BrokerProblem.BANNED,  # administrative action
    0x99: BrokerProblem.LIMITS,  # payload format invalid
    0x9A: BrokerProblem.LIMITS,  # retain not supported
    0x9B: BrokerProblem.LIMITS,  # QoS not supported
    0x9C: BrokerProblem.MOVED,  # use another server
    0x9D: BrokerProblem.MOVED,
    0x9E: BrokerProblem.LIMITS,  # shared subscriptions not supported
    0x9F: BrokerProblem.BUSY,  # connection rate exceeded
    0xA0: BrokerProblem.BUSY,  # maximum connect time
    0xA1: BrokerProblem.LIMITS,  # subscription identifiers not supported
    0xA2: BrokerProblem.LIMITS,  # wildcard subscriptions not supported
}
KEEP_ALIVE_TIMEOUT = 0x8D  # no packet arrived in time: not a fault of the client


def of_connect(reason: ReasonCode) -> BrokerProblem:
    """The problem of a refusing CONNACK. "Packet too large" here means the CONNECT with its will."""
    found = _OF_CODE.get(reason.value, BrokerProblem.FAULT)
    return BrokerProblem.LIMITS if found in (BrokerProblem.TOO_LARGE, BrokerProblem.TAKEN_OVER) else found


def of_disconnect(reason: ReasonCode) -> BrokerProblem | None:
    """The problem of a DISCONNECT from the broker; None: normal end, or keep-alive timeout."""
    if not reason.is_failure or reason.value == KEEP_ALIVE_TIMEOUT:
        return None
    return _OF_CODE.get(reason.value, BrokerProblem.FAULT)


def of_puback(reason_value: int) -> BrokerProblem:
    """The problem of a refusing PUBACK."""
    found = _OF_CODE.get(reason_value, BrokerProblem.PUBLISH_REFUSED)
    return found if found in (BrokerProblem.QUOTA, BrokerProblem.LIMITS) else BrokerProblem.PUBLISH_REFUSED


def describe(reason: ReasonCode, properties: Properties | None = None) -> str:
    """Reason name (MQTT 5) and code, then reason string and server reference of the broker, if any."""
    extra = ""
    for name in ("ReasonString", "ServerReference"):
        text = getattr(properties, name, None)
        if isinstance(text, str) and text.isprintable():
            extra += f"; {text[:TEXT_MAX_CHARS]}"
    return f"{reason.getName()} (0x{reason.value:02X}){extra}"
