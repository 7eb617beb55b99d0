"""The listener of the service: at its limit a new connection replaces an idle one; a restart loses none.

1. At most ``connections_max`` connections are open, half of them from one address, and a quarter of them in
   the TLS handshake with one address. At the limit the connection that waits longest for a request is closed
   in favour of the new one, also in its handshake; without such a connection the new one gets code 15.
2. While the service stops, each answer closes its connection, and ``drain`` waits for open requests.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from email.utils import formatdate
from operator import itemgetter

from starlette.types import ASGIApp

from agent.compare.contract import ApiFailure, failure_body
from agent.http_connection import Closed
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
        """Close a connection that waits for the new one where a limit is reached."""
        own_handshakes = [handshake for handshake in self.handshakes if handshake.peer == peer]
        if len(own_handshakes) >= max(1, self._connections_max // 4):
            own_handshakes[0].end()  # also below the other limits: a handshake takes memory and CPU time
        peers = self.peers
        is_of_peer = peers.count(peer) >= max(1, self._connections_max // 2)
        if not is_of_peer and len(peers) < self._connections_max:
            return None
        if self._close_longest_waiting(peer if is_of_peer else None):
            return None
        failure = ApiFailure(_BUSY, "too many connections", cause=Cause.CONNECTIONS)
        self._stats.refused(failure)
        log.warning("connection_refused", extra=facts(cause=failure.cause, client=peer))
        body = body_for_every_api(failure)
        return _REFUSAL % (len(body), body)

    def note_closed(self, cause: Closed, peer: str) -> None:
        self._stats.closed(cause)
        log.info("connection_closed", extra=facts(cause=cause, client=peer))

    def sweep(self) -> None:
        super().sweep()
        self._set_response_headers()

    def finish_connections(self) -> None:
        """From now on each answer closes its connection."""
        self._is_draining = True
        self._set_response_headers()

    async def drain(self, timeout_s: float) -> None:
        """Close the idle connections and wait for the open requests, at most ``timeout_s`` seconds.

        A request that is open after that is cancelled; the application sends its answer.
        """
        for connection in self.open_now:
            if connection.is_idle:
                connection.shutdown()
        if self._state.tasks:
            _, late_tasks = await asyncio.wait(self._state.tasks, timeout=timeout_s)
            for task in late_tasks:
                task.cancel()
            if late_tasks:
                await asyncio.wait(late_tasks, timeout=_CANCEL_S)

    def _close_longest_waiting(self, peer: str | None) -> bool:
        """Close the connection, of this address or of any, that has waited longest for a request.

        A connection in its TLS handshake waits, and one that waits for its client to read. False when every
        connection has a request.
        """
        waiting: list[tuple[float, Callable[[], object]]] = [
            (connection.since_s, connection.end)
            for connection in self.handshakes
            if peer in (None, connection.peer)
        ]
        waiting += [
            (connection.waits_since_s, connection.give_way)
            for connection in self.open_now
            if peer in (None, connection.peer) and connection.is_waiting
        ]
        if not waiting:
            return False
        min(waiting, key=itemgetter(0))[1]()
        return True

    def _set_response_headers(self) -> None:
        """Set the headers of every answer, in place: open requests refer to the same list."""
        date = (b"date", formatdate(usegmt=True).encode())
        self._state.default_headers[:] = [date, _CLOSE] if self._is_draining else [date]


def body_for_every_api(failure: ApiFailure) -> bytes:
    """No request was read, so the API is unknown: one object with the fields of both answers."""
    fields = json.loads(failure_body(failure, "")) | json.loads(error_body(failure, ""))
    return json.dumps(fields, separators=(",", ":")).encode()
