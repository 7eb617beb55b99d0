"""MQTT 5 reason codes of CONNACK, DISCONNECT and PUBACK: condition and description of each code.

Source: MQTT 5.0, 2.4 "Reason Code" and the tables of 3.2.2.2, 3.4.2.1 and 3.14.2.1.
"""

from enum import StrEnum

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.texts import Text, has_text

TEXT_MAX_CHARS = 120


class BrokerProblem(StrEnum):
    """A fault of the broker connection. The values are codes of ``health.conditions``."""

    UNREACHABLE = "mqtt_unreachable"
    CERTIFICATE = "mqtt_certificate_refused"  # of the broker, by this terminal
    TLS = "mqtt_tls_failed"  # only one side uses TLS, or the handshake ends
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
    CLONED = "terminal_cloned"  # raised and cleared by ``StatePublisher``


_CODES = {
    # malformed packet, protocol error, unsupported protocol version
    BrokerProblem.PROTOCOL: (0x81, 0x82, 0x84),
    BrokerProblem.CLIENT_ID: (0x85,),
    # bad user name or password, not authorized, bad authentication method
    BrokerProblem.REFUSED: (0x86, 0x87, 0x8C),
    # server unavailable, server busy, server shutting down, connection rate exceeded, maximum connect time
    BrokerProblem.BUSY: (0x88, 0x89, 0x8B, 0x9F, 0xA0),
    # banned, administrative action
    BrokerProblem.BANNED: (0x8A, 0x98),
    BrokerProblem.TAKEN_OVER: (0x8E,),
    # invalid: topic filter, topic name, payload format; exceeded: receive maximum; not supported: retain,
    # QoS, shared subscriptions, subscription identifiers, wildcard subscriptions
    BrokerProblem.LIMITS: (0x8F, 0x90, 0x99, 0x93, 0x9A, 0x9B, 0x9E, 0xA1, 0xA2),
    BrokerProblem.TOO_LARGE: (0x95,),
    # message rate too high, quota exceeded
    BrokerProblem.QUOTA: (0x96, 0x97),
    # use another server, server moved
    BrokerProblem.MOVED: (0x9C, 0x9D),
}
_PROBLEM_OF_CODE = {code: problem for problem, codes in _CODES.items() for code in codes}
REFUSING = frozenset({BrokerProblem.FAULT, *_CODES} - {BrokerProblem.TAKEN_OVER, BrokerProblem.TOO_LARGE})
"""The broker answered and refused to serve this client."""
PROTOCOL_ERROR = 0x82
KEEP_ALIVE_TIMEOUT = 0x8D  # no packet arrived in time: not a fault of the client


def problem_of_connack(reason: ReasonCode) -> BrokerProblem:
    """The problem of a refusing CONNACK. "Packet too large" here means the CONNECT with its will."""
    problem = _PROBLEM_OF_CODE.get(reason.value, BrokerProblem.FAULT)
    return BrokerProblem.LIMITS if problem in (BrokerProblem.TOO_LARGE, BrokerProblem.TAKEN_OVER) else problem


def problem_of_disconnect(reason: ReasonCode, *, is_from_broker: bool) -> BrokerProblem | None:
    """The problem of the end of a connection; None: normal end, no reason, or keep-alive timeout.

    ``is_from_broker``: the reason is that of a DISCONNECT packet. Otherwise the reason is paho's, and only
    0x82 names a cause: a packet that paho cannot read.
    """
    if not reason.is_failure or reason.value == KEEP_ALIVE_TIMEOUT:
        return None
    if not is_from_broker and reason.value != PROTOCOL_ERROR:
        return None
    return _PROBLEM_OF_CODE.get(reason.value, BrokerProblem.FAULT)


def problem_of_puback(reason_value: int) -> BrokerProblem:
    """The problem of a refusing PUBACK."""
    problem = _PROBLEM_OF_CODE.get(reason_value, BrokerProblem.PUBLISH_REFUSED)
    return (
        problem if problem in (BrokerProblem.QUOTA, BrokerProblem.LIMITS) else BrokerProblem.PUBLISH_REFUSED
    )


def describe(reason: ReasonCode, properties: Properties | None = None) -> Text:
    """Reason name (MQTT 5) and code, then reason string and server reference of the broker, if any."""
    extra = ""
    for property_name in ("ReasonString", "ServerReference"):
        text = getattr(properties, property_name, None)
        if isinstance(text, str) and text.isprintable():
            extra += f"; {text[:TEXT_MAX_CHARS]}"
    code = f"0x{reason.value:02X}"
    key = f"mqtt_code.{code}"
    name = Text(key) if has_text(key) else reason.getName()
    return Text("detail.broker_reason", name=name, code=code, extra=extra)
