"""MQTT 5 reason codes of CONNACK, DISCONNECT and PUBACK: which condition each is, and its words.

Source: MQTT 5.0, 2.4 "Reason Code" and the tables of 3.2.2.2, 3.4.2.1 and 3.14.2.1.
"""

from __future__ import annotations

from enum import StrEnum

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

WORDS_MAX_CHARS = 120


class Trouble(StrEnum):
    """The values are codes of ``health.conditions``."""

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
    DEAF = "mqtt_subscription_refused"
    PUBLISH_REFUSED = "mqtt_publish_refused"
    TOO_LARGE = "mqtt_message_not_taken"
    TAKEN_OVER = "mqtt_client_id_taken"
    CLONED = "terminal_cloned"  # raised by the reader of ``state``; cleared by the link


REFUSING = frozenset(
    {
        Trouble.REFUSED,
        Trouble.BANNED,
        Trouble.PROTOCOL,
        Trouble.CLIENT_ID,
        Trouble.BUSY,
        Trouble.QUOTA,
        Trouble.LIMITS,
        Trouble.MOVED,
        Trouble.FAULT,
    }
)
"""A broker that answers, and gives a reason not to serve this client."""

_OF_CODE = {
    0x81: Trouble.PROTOCOL,  # malformed packet
    0x82: Trouble.PROTOCOL,  # protocol error
    0x84: Trouble.PROTOCOL,  # unsupported protocol version
    0x85: Trouble.CLIENT_ID,
    0x86: Trouble.REFUSED,  # bad user name or password
    0x87: Trouble.REFUSED,  # not authorized
    0x88: Trouble.BUSY,  # server unavailable
    0x89: Trouble.BUSY,  # server busy
    0x8A: Trouble.BANNED,
    0x8B: Trouble.BUSY,  # server shutting down
    0x8C: Trouble.REFUSED,  # bad authentication method
    0x8E: Trouble.TAKEN_OVER,
    0x8F: Trouble.LIMITS,  # topic filter invalid
    0x90: Trouble.LIMITS,  # topic name invalid
    0x93: Trouble.LIMITS,  # receive maximum exceeded
    0x95: Trouble.TOO_LARGE,
    0x96: Trouble.QUOTA,  # message rate too high
    0x97: Trouble.QUOTA,
    0x98: Trouble.BANNED,  # administrative action
    0x99: Trouble.LIMITS,  # payload format invalid
    0x9A: Trouble.LIMITS,  # retain not supported
    0x9B: Trouble.LIMITS,  # QoS not supported
    0x9C: Trouble.MOVED,  # use another server
    0x9D: Trouble.MOVED,
    0x9E: Trouble.LIMITS,  # shared subscriptions not supported
    0x9F: Trouble.BUSY,  # connection rate exceeded
    0xA0: Trouble.BUSY,  # maximum connect time
    0xA1: Trouble.LIMITS,  # subscription identifiers not supported
    0xA2: Trouble.LIMITS,  # wildcard subscriptions not supported
}
KEEP_ALIVE_TIMEOUT = 0x8D  # the network was silent: no fault of the client


def of_connect(reason: ReasonCode) -> Trouble:
    """For a CONNACK that refuses. A packet that is too large is here the CONNECT with its will."""
    found = _OF_CODE.get(reason.value, Trouble.FAULT)
    return Trouble.LIMITS if found in (Trouble.TOO_LARGE, Trouble.TAKEN_OVER) else found


def of_disconnect(reason: ReasonCode) -> Trouble | None:
    """For a DISCONNECT of the broker; None: a normal end, or a network that was silent."""
    if not reason.is_failure or reason.value == KEEP_ALIVE_TIMEOUT:
        return None
    return _OF_CODE.get(reason.value, Trouble.FAULT)


def of_puback(reason_value: int) -> Trouble:
    """For a PUBACK that refuses."""
    found = _OF_CODE.get(reason_value, Trouble.PUBLISH_REFUSED)
    return found if found in (Trouble.QUOTA, Trouble.LIMITS) else Trouble.PUBLISH_REFUSED


def words(reason: ReasonCode, properties: Properties | None = None) -> str:
    """The name of the reason in MQTT 5 and its code, then the broker's own text and server, if any."""
    more = ""
    for name in ("ReasonString", "ServerReference"):
        text = getattr(properties, name, None)
        if isinstance(text, str) and text.isprintable():
            more += f"; {text[:WORDS_MAX_CHARS]}"
    return f"{reason.getName()} (0x{reason.value:02X}){more}"
