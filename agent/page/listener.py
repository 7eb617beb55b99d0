"""The page's listener in the agent's event loop. Verifications use the same loop, so the load is bounded.

1. At most ``CONNECTIONS_MAX`` connections are open, and ``PEER_CONNECTIONS_MAX`` per address; the rate of new
   connections is bounded, too. A connection above a limit gets a 503 response and is closed at once.
2. An idle connection or half a request occupies a place for ``IDLE_S`` only.
3. The send buffer is small: a viewer that stops reading is detected within some pictures, not minutes.
"""

import logging
import socket
import ssl
import time

from starlette.types import ASGIApp

from agent.core.rate import SenderBuckets, TokenBucket
from agent.errors import ConfigError, reason_of
from agent.http_listener import HttpListener, ListenerLimits, bind
from agent.texts import Text, locales, on_separate_lines

CONNECTIONS_MAX = 32
PEER_CONNECTIONS_MAX = 12  # two browsers: each opens six, however many its tabs
ACCEPTS_PER_S = 100  # a refusal costs little time
CONNECTS_PER_S, CONNECTS_BURST = 20.0, 60  # accepted connections: a TLS handshake takes milliseconds
PEER_CONNECTS_PER_MINUTE, PEER_CONNECTS_BURST = 600, 40
IDLE_S = 5.0
HANDSHAKE_S = 3.0
_BACKLOG = 64
_SEND_BUFFER_BYTES = 128 * 1024
_REFUSAL_HEAD = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)


class Listener(HttpListener):
    """Listens between ``open`` and ``close``. ``refused``: connections that were refused at a limit."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None = None, section: str = "page") -> None:
        """``section``: of the config, for errors."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # access.py logs internal errors
        limits = ListenerLimits(HANDSHAKE_S, IDLE_S, IDLE_S, ACCEPTS_PER_S, _BACKLOG)
        super().__init__(app, limits, tls=tls, log_prefix=f"{section}_")
        self._section = section
        body = on_separate_lines(Text("page.too_many_connections"), locales()).encode()
        self._refusal = _REFUSAL_HEAD % (len(body), body)
        self._connects = TokenBucket(CONNECTS_PER_S, CONNECTS_BURST, time.monotonic())
        self._peers = SenderBuckets(PEER_CONNECTS_PER_MINUTE, PEER_CONNECTS_BURST)
        self.refused = 0

    @property
    def port(self) -> int:
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Raises ``ConfigError`` (``page_unavailable``, ``display_unavailable``): the address is in use."""
        try:
            listener = bind(host, port)
            # every accepted connection inherits this size
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            self.listen(listener)
        except OSError as error:
            await self.close()
            why = Text(
                "detail.port_not_opened",
                section=self._section,
                host=host,
                port=port,
                reason=reason_of(error),
            )
            fix = Text("page.port_in_use", section=self._section)
            raise ConfigError(why, code=f"{self._section}_unavailable", fix=fix) from error

    def refusal_for(self, peer: str) -> bytes | None:
        peers, now_s = self.peers, time.monotonic()
        has_room = len(peers) < CONNECTIONS_MAX and peers.count(peer) < PEER_CONNECTIONS_MAX
        if has_room and self._peers.take(peer, now_s) and self._connects.take(now_s):
            return None
        self.refused += 1
        return self._refusal
