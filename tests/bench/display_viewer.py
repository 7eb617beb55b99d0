"""A viewer of the payer's screen in a process of its own: prints the pictures per second that it received.

``python -m tests.bench.display_viewer URL SECONDS``. Standard library only, so that it starts soon.
"""

from __future__ import annotations

import socket
import sys
import time
from urllib.parse import urlsplit

_HEAD_BYTES = 8
_REQUEST = "GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n"


def body_of(data: bytes) -> tuple[bytes, bytes]:
    """(the content of complete HTTP chunks, the rest)."""
    content = b""
    while b"\r\n" in data:
        size, _, after = data.partition(b"\r\n")
        length = int(size, 16)
        if len(after) < length + 2:
            break
        content, data = content + after[:length], after[length + 2 :]
    return content, data


def view(url: str, seconds: float) -> float:
    """Pictures per second, from the first picture on."""
    address, times = urlsplit(url), list[float]()
    with socket.create_connection(("127.0.0.1", address.port)) as connection:
        connection.sendall(_REQUEST.format(key=address.fragment).encode())
        until_s, data = time.monotonic() + seconds, b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        data, messages = data.partition(b"\r\n\r\n")[2], b""
        while time.monotonic() < until_s:
            data += connection.recv(65_536)
            content, data = body_of(data)
            messages += content
            while len(messages) >= _HEAD_BYTES:
                text, jpeg = int.from_bytes(messages[:4], "big"), int.from_bytes(messages[4:8], "big")
                if len(messages) < _HEAD_BYTES + text + jpeg:
                    break
                messages = messages[_HEAD_BYTES + text + jpeg :]
                times += [time.monotonic()] if jpeg else []
    return 0.0 if len(times) < 2 else (len(times) - 1) / (times[-1] - times[0])


if __name__ == "__main__":
    print(view(sys.argv[1], float(sys.argv[2])))
