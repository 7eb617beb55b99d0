"""Memory budget of the service. Every large buffer is reserved here before the buffer exists.

One number of the config, ``memory_max_mb``, covers the process: the interpreter, the models of each worker,
the connections, the bodies and downloads in flight, and the pictures that are being decoded. What does not
fit is refused (bodies, downloads) or waits (a decoder, which is certain to get its turn).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from agent.compare.contract import ApiFailure
from agent.errors import WrongValueError
from agent.service.causes import Cause
from agent.texts import Text

_BUSY = 15
_MB = 1_000_000
# Measured on x86-64 with Python 3.11 and OpenCV 4.14: 110 MB without a model, 90 MB for each worker. OpenVINO
# adds its library, SFace for all workers, and six sizes of YuNet.
_PROCESS_MB, _OPENVINO_MB, _WORKER_MB = 110, 150, 90
_CONNECTION_BYTES = 200_000  # receive buffers of one connection
DECODE_MAX_BYTES = 160 * _MB  # the most expensive picture that ``image_header`` accepts
_FLIGHT_MAX_BYTES = 96 * _MB  # more bodies at once than any queue can answer in time
_SHARE_MIN_BYTES = 13 * _MB  # one request with two downloads of the largest size
_FLIGHT_MIN_BYTES = 2 * _SHARE_MIN_BYTES


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The parts of ``memory_max_mb``: bytes of bodies and downloads in flight, bytes of decoders."""

    flight_bytes: int
    decode_bytes: int


def plan(memory_max_mb: int, workers: int, connections_max: int) -> MemoryPlan:
    """Divide the budget. Raises ``ValueError`` with the smallest sufficient number of megabytes."""
    process_mb = _PROCESS_MB + (_OPENVINO_MB if find_spec("openvino") else 0)
    fixed = (process_mb + workers * _WORKER_MB) * _MB + connections_max * _CONNECTION_BYTES
    left = memory_max_mb * _MB - fixed
    if left < DECODE_MAX_BYTES + _FLIGHT_MIN_BYTES:
        needed = -(-(fixed + DECODE_MAX_BYTES + _FLIGHT_MIN_BYTES) // _MB)
        facts = {"workers": workers, "connections": connections_max, "needed_mb": needed}
        raise WrongValueError(Text("detail.memory_short", **facts))
    flight = min(_FLIGHT_MAX_BYTES, left - DECODE_MAX_BYTES)
    return MemoryPlan(flight, min(left - flight, workers * DECODE_MAX_BYTES))


class Lease:
    """Reserved bytes, returned by ``release``, which may be called twice."""

    def __init__(self, budget: FlightBudget, size: int, holders: tuple[str, ...]) -> None:
        self._budget = budget
        self._size = size
        self._holders = holders

    def release(self) -> None:
        size, self._size = self._size, 0
        self._budget.give_back(size, self._holders)

    def shrink(self, size: int) -> None:
        """Return all but ``size`` bytes."""
        surplus = max(0, self._size - size)
        self._size -= surplus
        self._budget.give_back(surplus, self._holders)


class FlightBudget:
    """Bytes of bodies and downloads in flight. For one event loop.

    One account holds at most half of ``total_bytes``, one address at most a quarter. Senders whose signature
    is not verified yet hold at most half together, and a quarter in the name of one account.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._half_bytes = max(total_bytes // 2, _SHARE_MIN_BYTES)
        self._quarter_bytes = max(total_bytes // 4, _SHARE_MIN_BYTES)
        self._held: Counter[str] = Counter()
        self.used_bytes = 0

    def take(self, size: int, *, account: str, address: str, is_verified: bool = True) -> Lease:
        """Reserve ``size`` bytes. Raises ``ApiFailure`` 15 when the total or a share is used up.

        Args:
            is_verified: whether the signature of ``account`` is verified.
        """
        if self.used_bytes + size > self._total_bytes:
            raise ApiFailure(_BUSY, "memory for bodies is used up", cause=Cause.MEMORY)
        shares = {f"address {address}": (self._quarter_bytes, Cause.MEMORY_ADDRESS)}
        if is_verified:
            shares[f"account {account}"] = (self._half_bytes, Cause.MEMORY_ACCOUNT)
        else:
            shares[f"claimed {account}"] = (self._quarter_bytes, Cause.MEMORY_ACCOUNT)
            shares["all unverified senders"] = (self._half_bytes, Cause.MEMORY)
        for holder, (most_bytes, cause) in shares.items():
            if self._held[holder] + size > most_bytes:
                raise ApiFailure(_BUSY, f"the share of {holder} is used up", cause=cause)
        self.used_bytes += size
        for holder in shares:
            self._held[holder] += size
        return Lease(self, size, tuple(shares))

    def give_back(self, size: int, holders: tuple[str, ...]) -> None:
        """Called by ``Lease`` only."""
        self.used_bytes -= size
        for holder in holders:
            self._held[holder] -= size
            if self._held[holder] <= 0:
                del self._held[holder]


class DecodeBudget:
    """Bytes that decoders may allocate together. For threads."""

    def __init__(self, total_bytes: int) -> None:
        self._free = self._total_bytes = total_bytes
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free. A larger size than the total waits until all bytes are free."""
        size = min(size, self._total_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
