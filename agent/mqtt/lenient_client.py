"""paho's client, without four of its rules that end or hold a connection, or let a dead one appear alive.

The methods are private methods of paho 2: there is no public way to change these rules. The tests of this
module fail when a later version of paho does not call them.
"""

import struct

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.exception import MalformedPacket, MQTTException

_EXPIRY, _SUBSCRIPTION = 0x02, 0x0B
# Of MQTT 5.0, 2.2.2.2: payload format, message expiry, topic alias
_BYTES = {0x01: 1, _EXPIRY: 4, 0x23: 2}
# Content type, response topic, correlation data, user property: strings with a length in front of each
_STRINGS = {0x03: 1, 0x08: 1, 0x09: 1, 0x26: 2}
_DIGITS_MAX = 4  # of a number with seven bits in each byte


class LenientClient(Client):
    """Ignores the properties of a PUBLISH that this project does not use; keeps its own keep-alive.

    - paho ends the connection when the sender of a message used a property that paho cannot read, e.g. a
      content type with U+FEFF or the payload format 9. mosquitto forwards both: one till with such a message
      would cut the terminal from all tills.
    - paho copies the rest of the packet for each property: one message of 225 kB with 45 000 user properties
      held all other messages for 10 s.
    - A broker may demand a longer keep-alive, or none. A connection that died silently would be detected
      after this time only. A client may always send its pings more often.
    - Some packets that paho cannot read raise another exception than ``MalformedPacket``: the network thread
      would end, and the reason of the end would be unknown.
    """

    def _packet_handle(self) -> MQTTErrorCode:
        try:
            return super()._packet_handle()
        except (struct.error, LookupError, ValueError, MQTTException) as error:
            raise MalformedPacket(str(error)) from error

    def _handle_publish(self) -> MQTTErrorCode:
        qos = self._in_packet["command"] >> 1 & 3
        packet = self._in_packet["packet"]
        self._in_packet["packet"] = bytearray(with_expiry_only(packet, has_id=qos > 0))
        return super()._handle_publish()

    def _handle_connack(self) -> MQTTErrorCode:
        own_s = self._keepalive
        handled = super()._handle_connack()
        self._keepalive = min(self._keepalive or own_s, own_s)
        return handled


def with_expiry_only(packet: bytes | bytearray, *, has_id: bool) -> bytes:
    """A PUBLISH without its properties except the message expiry.

    Args:
        packet: the part after the fixed header.
        has_id: the packet has a packet identifier (QoS 1 and 2).
    Raises:
        MalformedPacket: the properties cannot be separated. A broker never forwards such a packet.
    """
    begin = 2 + int.from_bytes(packet[:2]) + 2 * has_id
    try:
        size, at = _number(packet, begin)
        end, expiry = at + size, b""
        if end > len(packet):
            raise MalformedPacket("the properties are longer than the packet")
        while at < end:
            after = _end_of_property(packet, at)
            if packet[at] == _EXPIRY:
                if expiry:
                    raise MalformedPacket("two message expiries")
                expiry = bytes(packet[at:after])
            at = after
    except (IndexError, ValueError) as error:
        raise MalformedPacket("a property is not complete or not known") from error
    if at != end:
        raise MalformedPacket("a property is longer than all properties")
    return bytes(packet[:begin]) + bytes([len(expiry)]) + expiry + packet[end:]


def _end_of_property(packet: bytes | bytearray, at: int) -> int:
    """The index after the property at ``at``. Raises ``IndexError``, ``ValueError``."""
    identifier, at = packet[at], at + 1
    if identifier in _BYTES:
        return at + _BYTES[identifier]
    if identifier == _SUBSCRIPTION:
        return _number(packet, at)[1]
    for _ in range(_STRINGS.get(identifier, 0)):
        at += 2 + (packet[at] << 8 | packet[at + 1])
    if identifier not in _STRINGS:
        raise ValueError("no property of a PUBLISH")
    return at


def _number(packet: bytes | bytearray, at: int) -> tuple[int, int]:
    """A variable byte integer and the index after it. Raises ``IndexError``, ``ValueError``."""
    value = 0
    for digit in range(_DIGITS_MAX):
        value |= (packet[at + digit] & 0x7F) << 7 * digit
        if packet[at + digit] < 0x80:
            return value, at + digit + 1
    raise ValueError("more than four bytes")
