"""Faulty servers inside the booted Debian: standard library only, run by its own Python as a systemd unit.

``guest.py api MODE PORT UPSTREAM CERT KEY``, ``guest.py dns MODE``, ``guest.py port MODE PORT``,
``guest.py broker REASON PORT CERT KEY CA``. Each reports READY to systemd and runs until it is stopped.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER_S = 3.0  # of the slow API: longer than verification.ask_timeout_ms
DNS = ("127.0.0.1", 53)
LOGIN = b"<html><head><title>Guest network</title></head><body>Please log in.</body></html>"
NXDOMAIN = b"\x81\x83"


def ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        notify.send(b"READY=1")


def api(mode: str, port: str, upstream: str, cert: str, key: str) -> None:
    """``slow``: pass each POST on after ``ANSWER_S``; ``html``: a captive portal; ``redirect``: 302."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if mode == "html":
                self._answer(200, LOGIN, {"Content-Type": "text/html"})
            elif mode == "redirect":
                self._answer(302, b"", {"Location": "https://login.shop.test/"})
            else:
                time.sleep(ANSWER_S if self.command == "POST" else 0)
                link = http.client.HTTPSConnection(
                    "127.0.0.1", int(upstream), context=ssl._create_unverified_context()
                )
                link.request(self.command, self.path, body, dict(self.headers))
                answer = link.getresponse()
                self._answer(answer.status, answer.read(), {"Content-Type": "application/json"})

        do_GET = do_OPTIONS = do_POST

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    ready()
    server.serve_forever()


def dns(mode: str) -> None:
    """``silent``: a name server that never answers; ``unknown``: no name exists."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(DNS)
        ready()
        while True:
            query, client = server.recvfrom(4_096)
            if mode == "unknown":
                server.sendto(query[:2] + NXDOMAIN + query[4:6] + bytes(6) + query[12:], client)


def port(mode: str, number: str) -> None:
    """``taken``: listen and do nothing; ``dropping``: the queue is full, so the kernel drops each SYN."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(number)))
        server.listen(0 if mode == "dropping" else 8)
        waiting = []
        for _ in range(4 if mode == "dropping" else 0):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", int(number)))
            waiting.append(client)
        time.sleep(0.5)
        ready()
        while True:
            time.sleep(60)


def broker(reason: str, number: str, cert: str, key: str, ca: str) -> None:
    """A broker that accepts the connection and answers each publish with this PUBACK reason."""
    from tests.mqtt.scripted import Script, puback, scripted

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    script = Script(on_publish=lambda _topic, _payload, mid: puback(mid, int(reason, 16)))

    async def serve() -> None:
        async with scripted(script, int(number), context):
            ready()
            await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["api", mode, number, upstream, cert, key]:
            api(mode, number, upstream, cert, key)
        case ["dns", mode]:
            dns(mode)
        case ["port", mode, number]:
            port(mode, number)
        case ["broker", reason, number, cert, key, ca]:
            broker(reason, number, cert, key, ca)
