"""The listener of the service: at its limit a new connection replaces an idle one; hands over on a restart.

1. At most ``connections_max`` connections are open, half of them from one address. At the limit an idle
   connection is closed in favour of the new one; without an idle one the new one gets code 15.
2. While the service stops, each answer closes its connection, and ``drain`` waits for open requests.
"""

import asyncio
import json
import logging
import ssl
from email.utils import formatdate

from starlette.types import ASGIApp

from agent.compare.contract import ApiFailure, failure_body
from agent.http_connection import HttpConnection
from agent.http_listener import HttpListener, ListenerLimits
from agent.log import facts
from agent.service.causes import Cause
from agent.service.compareface_errors import error_body
from agent.service.stats import Stats

log = logging.getLogger(__name__)

_LIMITS = ListenerLimits(
    handshake_s=5.0,
    header_s=5.0,
    keepalive_s=75.0,  # longer than any client keeps an idle connection, so the client closes first
    accepts_per_s=500,
    backlog=128,
)
_CANCEL_S = 1.0
_BUSY = 15
_CLOSE = (b"connection", b"close")
_REFUSAL = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)


class ServiceListener(HttpListener):
    """``HttpListener`` with the limits of the service and an orderly end."""

    def __init__(
        self, app: ASGIApp, stats: Stats, *, connections_max: int, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(app, _LIMITS, tls=tls)
        self._stats = stats
        self._connections_max = connections_max
        self._is_draining = False

    def refusal_for(self, peer: str) -> bytes | None:
        """Close an idle connection for the new one where a limit is reached."""
        peers, candidates = self.peers, self.open_now
        is_full = len(peers) >= self._connections_max
        if peers.count(peer) >= max(1, self._connections_max // 2):
            is_full, candidates = True, [each for each in candidates if each.peer == peer]
        if not is_full or _evict(candidates):
            return None
        failure = ApiFailure(_BUSY, "too many connections", cause=Cause.CONNECTIONS)
        self._stats.refused(failure)
        log.warning("connection_refused", extra=facts(cause=failure.cause, client=peer))
        body = body_for_every_api(failure)
        return _REFUSAL % (len(body), body)

    def sweep(self) -> None:
        super().sweep()
        self._stamp()

    def finish_connections(self) -> None:
        """From now on each answer closes its connection."""
        self._is_draining = True
        self._stamp()

    async def drain(self, timeout_s: float) -> None:
        """Close the idle connections and wait for the open requests, at most ``timeout_s`` seconds.

        A request that is open after that is cancelled; the application sends its answer.
        """
        for each in self.open_now:
            if each.is_idle:
                each.shutdown()
        if self._state.tasks:
            _, late = await asyncio.wait(self._state.tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_CANCEL_S)

    def _stamp(self) -> None:
        """Set the headers of every answer, in place: open requests refer to the same list."""
        date = (b"date", formatdate(usegmt=True).encode())
        self._state.default_headers[:] = [date, _CLOSE] if self._is_draining else [date]


def body_for_every_api(failure: ApiFailure) -> bytes:
    """No request was read, so the API is unknown: one object with the fields of both answers."""
    fields = json.loads(failure_body(failure, "")) | json.loads(error_body(failure, ""))
    return json.dumps(fields, separators=(",", ":")).encode()


def _evict(candidates: list[HttpConnection]) -> bool:
    """Close the connection that has waited longest for a request. False when every one has a request.

    A connection that waits for its client to read counts as idle.
    """
    open_now = [each for each in candidates if not each.transport.is_closing()]
    idle = [each for each in open_now if each.is_idle or each.unread_since_s is not None]
    if not idle:
        return False
    oldest = min(idle, key=lambda each: each.waits_since_s)
    oldest.transport.abort()
    oldest.connections.discard(oldest)
    return True
