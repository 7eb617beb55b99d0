"""The limits of one broker, from the properties of its CONNACK (MQTT 5.0, 3.2.2.3)."""

from __future__ import annotations

from dataclasses import dataclass

from paho.mqtt.properties import Properties

FIXED_HEADER_BYTES = 5  # one byte of type, at most four of length
OTHER_BYTES = 2 + 2 + 1 + 5  # topic length, message id, property length, message expiry interval


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The defaults are those of a CONNACK without properties: no limit.

    Attributes:
        packet_max_bytes: of a whole packet; None: no limit.
        in_flight_max: messages with QoS 1 that may be unanswered, 1–65 535.
    """

    packet_max_bytes: int | None = None
    qos_max: int = 2
    retain: bool = True
    in_flight_max: int = 65_535
    wildcards: bool = True

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

    def missing(self, qos: int, *, retained: bool, wildcards: bool) -> str:
        """The needs that the broker does not meet, as English text; empty when all are met."""
        lacks = [f"QoS {qos} (at most {self.qos_max})"] * (qos > self.qos_max)
        lacks += ["retained messages"] * (retained and not self.retain)
        lacks += ["wildcard subscriptions"] * (wildcards and not self.wildcards)
        return ", ".join(lacks)


def packet_bytes(topic: str, payload: bytes) -> int:
    """Upper bound of the size of the PUBLISH packet for this message, in bytes."""
    return FIXED_HEADER_BYTES + OTHER_BYTES + len(topic.encode()) + len(payload)
