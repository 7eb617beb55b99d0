"""Memory budget of the service. Every large buffer is reserved here before the buffer exists.

One number of the config, ``memory_max_mb``, covers the process: the interpreter, the models of each worker,
the connections, the bodies and downloads in flight, and the pictures that are being decoded. Bodies and
pictures share one part: what does not fit beside the others is refused. A decoder waits until other decoders
have released enough memory. It does not wait for bodies, whose senders can be slow on purpose.
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
# adds its library and the weights of SFace; a worker has its compiled SFace and six sizes of YuNet.
_PROCESS_MB, _WORKER_MB = 110, 90
_OPENVINO_MB, _OPENVINO_WORKER_MB = 110, 115
_CONNECTION_BYTES = 200_000  # receive buffers of one connection
DECODE_MAX_BYTES = 160 * _MB  # the most expensive picture that ``image_header`` accepts
_FLIGHT_MAX_BYTES = 96 * _MB  # more bodies at once than any queue can answer in time
_SHARED_BYTES = 150 * _MB  # bodies and the picture of one worker: VmHWM stays below 450 000 kB
_SHARE_MIN_BYTES = 13 * _MB  # two downloads of the largest size
_FLIGHT_MIN_BYTES = 2 * _SHARE_MIN_BYTES  # more than one request holds: a body and two downloads


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The parts of ``memory_max_mb``: bytes of bodies and downloads in flight, of decoders, of both together.

    ``shared_bytes`` is no limit for one request, see ``SharedPool``.
    """

    flight_bytes: int
    decode_bytes: int
    shared_bytes: int


def plan(memory_max_mb: int, workers: int, connections_max: int) -> MemoryPlan:
    """Divide the budget. Raises ``ValueError`` with the smallest sufficient number of megabytes."""
    has_openvino = find_spec("openvino") is not None
    library_mb, worker_mb = (_OPENVINO_MB, _OPENVINO_WORKER_MB) if has_openvino else (0, _WORKER_MB)
    process_mb = _PROCESS_MB + library_mb + workers * worker_mb
    fixed_bytes = process_mb * _MB + connections_max * _CONNECTION_BYTES
    left_bytes = memory_max_mb * _MB - fixed_bytes
    if left_bytes < DECODE_MAX_BYTES + _FLIGHT_MIN_BYTES:
        needed = -(-(fixed_bytes + DECODE_MAX_BYTES + _FLIGHT_MIN_BYTES) // _MB)
        facts = {"workers": workers, "connections": connections_max, "needed_mb": needed}
        raise WrongValueError(Text("detail.memory_short", **facts))
    decode_bytes = min(left_bytes - _FLIGHT_MIN_BYTES, workers * DECODE_MAX_BYTES)
    shared_bytes = min(left_bytes, _SHARED_BYTES + (workers - 1) * DECODE_MAX_BYTES)
    return MemoryPlan(min(_FLIGHT_MAX_BYTES, shared_bytes), decode_bytes, shared_bytes)


class SharedPool:
    """Bytes of bodies and of decoders together. Nothing waits here. For threads.

    Bodies up to 26 MB and any picture always fit together, so the size of one request is never the reason.
    Above that, large pictures can refuse bodies, and bodies can refuse large pictures.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._bodies = self._pictures = 0
        self._lock = threading.Lock()

    def change(self, *, body: int = 0, picture: int = 0) -> None:
        """Reserve bytes; a negative size releases bytes.

        Raises:
            ApiFailure: 15, bodies and pictures would be too large together.
        """
        with self._lock:
            bodies, pictures = self._bodies + body, self._pictures + picture
            is_reservation = body > 0 or picture > 0
            if is_reservation and bodies > _FLIGHT_MIN_BYTES and bodies + pictures > self._total_bytes:
                raise ApiFailure(_BUSY, "memory for bodies and pictures is used up", cause=Cause.MEMORY)
            self._bodies, self._pictures = bodies, pictures

    @contextmanager
    def picture(self, size: int) -> Iterator[None]:
        """Hold the memory of a picture. Raises as ``change``."""
        self.change(picture=size)
        try:
            yield
        finally:
            self.change(picture=-size)


class Lease:
    """Reserved bytes, returned by ``release``, which may be called twice."""

    def __init__(self, budget: FlightBudget, size: int, address: str, holders: tuple[str, ...]) -> None:
        self._budget = budget
        self._size = size
        self._address = address
        self._holders = holders

    def verify(self, account: str) -> None:
        """The signature of ``account`` is verified: count the bytes in its share. Never refused."""
        previous_holders, self._holders = self._holders, _holders_of(self._address, account)
        self._budget.move(self._size, previous_holders, self._holders)

    def release(self) -> None:
        size, self._size = self._size, 0
        self._budget.move(size, self._holders, ())

    def shrink(self, size: int) -> None:
        """Return all but ``size`` bytes."""
        surplus = max(0, self._size - size)
        self._size -= surplus
        self._budget.move(surplus, self._holders, ())


class FlightBudget:
    """Bytes of bodies and downloads in flight. For one event loop.

    The largest shares of ``total_bytes``: one account a half, one address a quarter. Of senders whose
    signature is not verified yet: all a half, one address an eighth, the name of one account a quarter.

    Each share has room for at least one request. The share in the name of an account has room for two, so one
    address without a key cannot use it up. ``Lease.verify`` moves bytes to the account and is never refused,
    so an account can exceed its half by the bytes that it held before the verification.
    """

    def __init__(self, total_bytes: int, pool: SharedPool | None = None) -> None:
        """``pool``: the part that bodies and decoders share; without it, bodies have their own."""
        self._pool = pool or SharedPool(total_bytes)
        self._total_bytes = total_bytes
        self._half_bytes = max(total_bytes // 2, _SHARE_MIN_BYTES)
        self._quarter_bytes = max(total_bytes // 4, _SHARE_MIN_BYTES)
        self._eighth_bytes = max(total_bytes // 8, _SHARE_MIN_BYTES)
        self._claimed_bytes = max(total_bytes // 4, 2 * _SHARE_MIN_BYTES)
        self._bytes_of_holder: Counter[str] = Counter()
        self.used_bytes = 0

    def take(self, size: int, *, account: str, address: str, is_verified: bool = True) -> Lease:
        """Reserve ``size`` bytes. Raises ``ApiFailure`` 15 when the total or a share is used up.

        Args:
            is_verified: whether the signature of ``account`` is verified.
        """
        if self.used_bytes + size > self._total_bytes:
            raise ApiFailure(_BUSY, "memory for bodies is used up", cause=Cause.MEMORY)
        by_address, by_account = holders = _holders_of(address, account)
        shares = {
            by_address: (self._quarter_bytes, Cause.MEMORY_ADDRESS),
            by_account: (self._half_bytes, Cause.MEMORY_ACCOUNT),
        }
        if not is_verified:
            unverified = {
                f"unverified {address}": (self._eighth_bytes, Cause.MEMORY_ADDRESS),
                f"claimed {account}": (self._claimed_bytes, Cause.MEMORY_ACCOUNT),
                "all unverified senders": (self._half_bytes, Cause.MEMORY),
            }
            shares |= unverified
            holders = (by_address, *unverified)
        for holder, (max_bytes, cause) in shares.items():
            if self._bytes_of_holder[holder] + size > max_bytes:
                raise ApiFailure(_BUSY, f"the share of {holder} is used up", cause=cause)
        self._pool.change(body=size)
        self.used_bytes += size
        self._bytes_of_holder.update(dict.fromkeys(holders, size))
        return Lease(self, size, address, holders)

    def move(self, size: int, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Called by ``Lease`` only. Without ``after``: give back."""
        if not after:
            self.used_bytes -= size
            self._pool.change(body=-size)
        self._bytes_of_holder.subtract(dict.fromkeys(before, size))
        self._bytes_of_holder.update(dict.fromkeys(after, size))
        for holder in before:
            if self._bytes_of_holder[holder] <= 0:
                del self._bytes_of_holder[holder]


def _holders_of(address: str, account: str) -> tuple[str, ...]:
    """The holders of bytes of a verified account."""
    return f"address {address}", f"account {account}"


class DecodeBudget:
    """Bytes that decoders may allocate together. For threads."""

    def __init__(self, total_bytes: int, pool: SharedPool | None = None) -> None:
        """``pool``: the part that bodies and decoders share; without it, decoders have their own."""
        self.pool = pool or SharedPool(total_bytes)
        self._free = self._total_bytes = total_bytes
        self._free_changed = threading.Condition()
        self._queue = threading.Lock()  # held by the picture that waits: a smaller one does not overtake it
        self._is_extending = False

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until other decoders leave enough bytes; a larger size than the total waits for all bytes.

        Raises:
            ApiFailure: 15, the bytes do not fit beside the bodies in flight.
        """
        size = min(size, self._total_bytes)
        with self._queue, self._free_changed:
            self._free_changed.wait_for(lambda: self._free >= size and not self._is_extending)
            self._free -= size
        with self._reserved(size):
            yield

    @contextmanager
    def extend(self, size: int) -> Iterator[None]:
        """Hold more bytes for a picture that holds some. Waits before all pictures that hold none.

        Together not more than the total: the caller's duty. Two pictures would wait for each other, so the
        second one is refused.

        Raises:
            ApiFailure: 15, another picture waits here, or the bytes do not fit beside the bodies in flight.
        """
        with self._free_changed:
            if self._is_extending:
                raise ApiFailure(_BUSY, "memory for pictures is used up", cause=Cause.MEMORY)
            self._is_extending = True
            try:
                self._free_changed.wait_for(lambda: self._free >= size)
                self._free -= size
            finally:
                self._is_extending = False
                self._free_changed.notify_all()
        with self._reserved(size):
            yield

    @contextmanager
    def _reserved(self, size: int) -> Iterator[None]:
        """The bytes are reserved here; reserve them beside the bodies, and release both at the end."""
        try:
            with self.pool.picture(size):
                yield
        finally:
            with self._free_changed:
                self._free += size
                self._free_changed.notify_all()
