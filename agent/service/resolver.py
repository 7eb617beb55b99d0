"""Name lookups of the downloads, in threads that may be abandoned.

``getaddrinfo`` blocks as long as a name server sends no answer. So the number of lookups is bounded, one
lookup serves all requests for a name, and the names of one domain use only a part of the lookups: the names
of one unreachable server must not stop the downloads of all other accounts.
"""

import asyncio
import ipaddress
import socket
from concurrent.futures import Future
from functools import partial
from typing import Any

from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
from agent.tasks import in_thread

LOOKUPS_MAX = 24  # threads; TasksMax of the unit is 64
DOMAIN_LOOKUPS_MAX = 4
_BUSY, _TIMED_OUT, _NO_SERVER = 15, -1506, -1507
_LABELS = 2  # of a domain, e.g. shop.example

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Rows = list[tuple[Any, ...]]


class Resolver:
    """For one event loop. The caller sets the time limit; a lookup that is abandoned keeps its thread."""

    def __init__(self) -> None:
        self._lookups: dict[tuple[str, int], Future[_Rows]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of a name, at least one.

        Raises:
            ApiFailure: -1507 no such host; -1506 lookups of this domain hang; 15 too many lookups hang.
        """
        key = (host.lower(), port)
        self._lookups = {name: lookup for name, lookup in self._lookups.items() if not lookup.done()}
        lookup = self._lookups.get(key)
        if lookup is None:
            self._check_room(key[0])
            lookup_call = partial(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            lookup = self._lookups[key] = in_thread("lookup", lookup_call)
        try:
            # shielded: other requests may wait for the same lookup
            waiting = asyncio.wrap_future(lookup)
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            rows = await asyncio.shield(waiting)
        except (OSError, UnicodeError, OverflowError) as error:
            raise ApiFailure(_NO_SERVER, "no such host", cause=Cause.NO_HOST) from error
        return list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))

    def _check_room(self, host: str) -> None:
        if sum(_domain(name) == _domain(host) for name, _ in self._lookups) >= DOMAIN_LOOKUPS_MAX:
            why = "earlier lookups of this domain have no answer yet"
            raise ApiFailure(_TIMED_OUT, why, cause=Cause.RESOLVER_SLOW)
        if len(self._lookups) >= LOOKUPS_MAX:
            raise ApiFailure(_BUSY, "too many lookups have no answer yet", cause=Cause.RESOLVER_FULL)


def _domain(host: str) -> str:
    return ".".join(host.rstrip(".").split(".")[-_LABELS:])
