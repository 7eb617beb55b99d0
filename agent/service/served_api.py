"""The differences between the APIs of the service: a ``ServedApi`` for each, a ``Call`` for each request."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from starlette.requests import Request

from agent.compare.contract import ApiFailure
from agent.service.forms import Form
from agent.service.memory_budget import Lease
from agent.service.stats import NO_ACCOUNT


@dataclass(slots=True)
class Call:
    """One request, with what it has reserved."""

    request: Request
    begun_s: float = field(default_factory=time.monotonic)
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    appid: str = NO_ACCOUNT  # of the verified signature
    claimed: str = ""  # the appid of a signature that can be verified only with the body
    is_permitted: bool = False  # within the rate of the account
    is_drained: bool = True  # the body was read to its end
    leases: list[Lease] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else ""

    def header(self, name: str) -> str:
        """The value of a header; empty: absent."""
        return self.request.headers.get(name, "")

    def declared_bytes(self) -> int | None:
        """The length of the body; None: chunked, so Content-Length has no effect (RFC 9112, 6.3)."""
        if "transfer-encoding" in self.request.headers:
            return None
        length = self.header("content-length")
        return int(length) if length.isascii() and length.isdigit() else None


@dataclass(frozen=True, slots=True)
class Upload:
    """A request whose header is accepted and whose body is not read yet.

    ``memory_bytes``: what ``read`` needs. ``read``: reads, checks and parses the body; raises ``ApiFailure``.
    """

    memory_bytes: int
    read: Callable[[AsyncIterator[bytes]], Awaitable[Form]]


class ServedApi(Protocol):
    """One API.

    Attributes:
        name: the API in the log.
        body_max_bytes: a longer body is refused.
    """

    name: str
    body_max_bytes: int

    async def accept(self, call: Call) -> Upload:
        """Check the header, before a byte of the body is read. Sets the accounts of ``call``.

        Raises:
            ApiFailure: the header is refused.
        """
        ...

    def check_picture(self, picture: bytearray) -> None:
        """The limits of this API beyond those of the recogniser. Raises ``ApiFailure``, without a flag."""
        ...

    def success(self, similarity: float, session: str) -> bytes:
        """The body of an answer. ``similarity``: 0-100 on the scale of the 2018 API."""
        ...

    def failure(self, failure: ApiFailure, session: str) -> bytes: ...
