"""A flood of hostile messages from its own process: ``python -m tests.chaos.flood PORT PREFIX RATE COUNT``.

The MQTT 5 packets are written without paho, which sends at most some thousand messages a second. QoS 0: only
TCP limits the rate. Against 127.0.0.1 only, bounded in count.
"""

from __future__ import annotations

import argparse
import socket
import time

TICK_S = 0.01
COUNT_MAX = 200_000


def packet(kind: int, body: bytes) -> bytes:
    size, digits = len(body), bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([kind]) + bytes(digits) + body


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def connect(port: int, client_id: str) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.sendall(packet(0x10, text("MQTT") + bytes([5, 2, 0, 0, 0]) + text(client_id)))
    answer = sock.recv(64)
    assert answer[:1] == b"\x20" and answer[3] == 0, f"the broker refuses: {answer.hex()}"
    return sock


def publish(topic: str, payload: bytes) -> bytes:
    return packet(0x30, text(topic) + b"\x00" + payload)


def flood(port: int, topics: list[str], rate_per_s: int, count: int) -> float:
    """Send ``count`` one-byte messages over ``topics`` in turn; the achieved rate per second."""
    sock = connect(port, f"flood-{time.monotonic_ns()}")
    packets = [publish(topic, b"x") for topic in topics]
    start_s, sent = time.monotonic(), 0
    while sent < min(count, COUNT_MAX):
        due = min(count, int((time.monotonic() - start_s + TICK_S) * rate_per_s))
        sock.sendall(b"".join(packets[each % len(packets)] for each in range(sent, due)))
        sent = max(sent, due)
        time.sleep(TICK_S)
    sock.close()
    return sent / (time.monotonic() - start_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("prefix", help="topic of the terminal, as facepay/v1/site/terminal")
    parser.add_argument("rate", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--tills", type=int, default=1, help="hostile till ids; 0: a new id for each message")
    options = parser.parse_args()
    tills = range(options.tills or options.count)
    kinds = ("request", "cancel", "ack")
    topics = [f"{options.prefix}/verify/junk-{each}/{kinds[each % 3]}" for each in tills]
    print(f"{flood(options.port, topics, options.rate, options.count):.0f}")


if __name__ == "__main__":
    main()
