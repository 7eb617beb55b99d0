"""Probe of an HTTP server: one connection with a duration for each step (name, TCP, TLS, first byte).

The probe sends no secret: its only request is an unsigned OPTIONS, as in the agent's warm-up.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import pairwise
from urllib.parse import urlsplit

from agent.config.tls_files import unverified_context
from agent.core.hosts import in_url
from agent.diagnostics.check_inputs import Addresses, CheckInputs
from agent.tasks import in_thread

CONNECT_TIMEOUT_S = 4.0
RESOLVE_TIMEOUT_S = 4.0
_HEAD_MAX_BYTES = 16 * 1024
_HEAD_TIMEOUT_S = 4.0  # for the complete head: the limit of the socket begins again with each byte


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """The endpoint of an http(s) url. Raises ``ValueError``."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, parts.path or "/", tls)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def addresses(inputs: CheckInputs, host: str, port: int) -> Addresses:
    """The addresses of a host, at least one. Raises ``OSError``.

    The resolver has no time-out: its thread is abandoned after ``RESOLVE_TIMEOUT_S``.
    """
    lookup = in_thread("resolve", lambda: inputs.resolve(host, port))
    try:
        return lookup.result(RESOLVE_TIMEOUT_S)
    except UnicodeError:  # the name cannot be encoded
        raise OSError("not a host name") from None
    except TimeoutError:
        raise TimeoutError(f"{host}: no answer from the name server") from None


def connect(found: Addresses) -> socket.socket:
    """A connection to the first address that accepts it. Raises ``OSError``: that of the last address."""
    last_error = OSError("no address")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            last_error = error
        else:
            return connection
    raise last_error


@dataclass(frozen=True, slots=True)
class Exchange:
    """Duration of each step in ms; 0 for a step that was not needed.

    ``date_unix_ms``: the Date header of the answer; None if absent or invalid.
    """

    dns_ms: int
    tcp_ms: int
    tls_ms: int
    first_byte_ms: int
    date_unix_ms: int | None

    @property
    def total_ms(self) -> int:
        return self.dns_ms + self.tcp_ms + self.tls_ms + self.first_byte_ms


def exchange(inputs: CheckInputs, endpoint: Endpoint) -> Exchange:
    """Send one OPTIONS request. Does not verify the certificate: ``net.tls`` does. Raises ``OSError``."""
    times_s = [time.monotonic()]

    def end_step() -> None:
        times_s.append(time.monotonic())

    found = addresses(inputs, endpoint.host, endpoint.port)
    end_step()
    with connect(found) as plain:
        end_step()
        with (
            unverified_context().wrap_socket(plain, server_hostname=endpoint.host)
            if endpoint.tls
            else plain as link
        ):
            end_step()
            link.sendall(
                f"OPTIONS {endpoint.path} HTTP/1.1\r\nHost: {in_url(endpoint.host)}:{endpoint.port}\r\n"
                "User-Agent: facepay-agent\r\nConnection: close\r\n\r\n".encode("ascii", "replace")
            )
            head = link.recv(1)
            end_step()
            if not head:
                raise ConnectionResetError("closed without an answer")
            until_s = time.monotonic() + _HEAD_TIMEOUT_S
            while b"\r\n\r\n" not in head and len(head) < _HEAD_MAX_BYTES and (piece := link.recv(4_096)):
                head += piece
                if time.monotonic() >= until_s:
                    raise TimeoutError("the answer was incomplete")
    dns_ms, tcp_ms, tls_ms, first_byte_ms = (round((end - start) * 1e3) for start, end in pairwise(times_s))
    return Exchange(dns_ms, tcp_ms, tls_ms, first_byte_ms, _date(head))


def _date(head: bytes) -> int | None:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            try:
                return round(parsedate_to_datetime(value.strip()).timestamp() * 1e3)
            except (ValueError, TypeError, OverflowError, IndexError):
                return None
    return None
