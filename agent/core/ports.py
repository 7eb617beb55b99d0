"""The seams: what the runtime needs from the world, at most three methods each.

Adapters live in the rooms (camera, vision, compare, till); only composition roots name them.
Every method raises only ``AgentError`` subclasses on purpose; anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.core.model import (
    Analysis,
    Comparison,
    Crop,
    Frame,
    Request,
    Result,
    Shot,
)
from agent.core.reasons import Guidance, Refusal


class Clock(Protocol):
    """Time as the runtime sees it; tests hand in one they turn by hand."""

    def now_ms(self) -> int:
        """Milliseconds on CLOCK_BOOTTIME: monotonic, counts suspend. The clock of every ``*_ms`` moment."""

    def unix_ms(self) -> int:
        """Wall clock, for people and signatures only. May jump."""


class Camera(Protocol):
    """Newest-frame source. Frames nobody fetched are dropped, never queued."""

    def start(self) -> None:
        """Start capturing in a thread of its own. Raises ``CameraError`` when there is no camera."""

    async def next_frame(self, after_seq: int) -> Frame:
        """The newest frame with ``seq > after_seq``; waits for one. Raises ``CameraError`` on a stall."""

    def stop(self) -> None:
        """Stop and release within 2 s. Safe to call twice."""


class FaceAnalyzer(Protocol):
    """Local face finding. Called from one worker thread only, one call at a time."""

    def begin(self, at_ms: int) -> None:
        """A verification starts or has ended: forget its face, tracks and presence."""

    def look(self, frame: Frame) -> Analysis:
        """Find the payer's face in one frame. Never raises on odd pixels: odd frames are ``no_face``."""

    def crop(self, shot: Shot) -> Crop:
        """JPEG of the face with margin from the full-size frame, bystanders blanked, at most 60 kB."""


ImageSource = bytes | str
"""One image of a comparison: encoded bytes, or the url that the compare API downloads itself."""


class Compare(Protocol):
    """The compare API. Keeps no picture: the caller holds the reference of a verification."""

    async def prepare(self, request: Request) -> ImageSource:
        """Fetch or check the reference of a request and return it; open the connection.

        Raises ``CompareError`` with ``reference_*`` codes when the reference cannot be used. A connection
        that cannot be opened is no error here; the call reports the failure.
        """

    async def call(
        self,
        reference: ImageSource,
        crop: Crop,
        number: int,
        timeout_ms: int,
        on_sent: Callable[[], None],
    ) -> Comparison:
        """One API call about one crop. Raises ``CompareError`` for everything but a number.

        ``number`` counts the calls of one verification from 1.

        ``on_sent`` is called when the request goes out to the API: from then on the call counts as paid, if
        it is answered, fails or is cancelled. A call without ``on_sent`` cost nothing.
        """

    async def close(self) -> None:
        """Close connections. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A well-formed request arrived. ``retained`` ones are refused by ``core.admission``."""

    request: Request
    retained: bool = False


@dataclass(frozen=True, slots=True)
class CancelReceived:
    till: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The bytes were no usable request: the till adapter could tell without the core."""

    till: str
    request_id: str | None
    refusal: Refusal
    detail: str


Inbound = RequestReceived | CancelReceived | Refused


@dataclass(frozen=True, slots=True)
class Accepted:
    request: Request
    budget_ms: int


@dataclass(frozen=True, slots=True)
class Guided:
    request: Request
    guidance: Guidance


@dataclass(frozen=True, slots=True)
class Staged:
    """A verification moved on; ``stage`` is the state's name in lower case."""

    request: Request
    stage: str


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A refusal. ``result_id``: of the match that ``result_expired`` replaces, for the till to acknowledge.

    ``asks``: API calls that were made for an accepted request whose result could not be stored.
    """

    till: str
    request_id: str | None
    refusal: Refusal
    detail: str = ""
    result_id: str | None = None
    asks: int | None = None


TillEvent = Accepted | Guided | Staged | RefusedEvent


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result on disk: the exact bytes every delivery and re-delivery carries."""

    till: str
    request_id: str
    result_id: str
    seq: int
    payload: bytes
    is_match: bool
    deadline_ms: int  # boot clock; a match is withheld when less than the publish margin is left


class Till(Protocol):
    """The till side of the terminal: MQTT in production."""

    async def receive(self) -> Inbound:
        """The next inbound message; waits. Acks never come here: the outbox closes its row itself."""

    async def tell(self, event: TillEvent) -> None:
        """Best effort (QoS 0): a lost event changes no outcome. Never raises."""

    async def deliver(self, stored: StoredResult) -> None:
        """Publish a stored result; returns at PUBACK or once delivery is in the courier's hands (link down).

        The adapter re-sends with backoff until acknowledged or expired, always the same bytes.
        """


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the ledger knows about (till, request_id): ``result`` is None while it is being worked on."""

    payload_sha256: str
    result: StoredResult | None
    forgotten: bool = False  # the record is gone after the retention; only its id is kept


class Ledger(Protocol):
    """Durable claims and results. Every method returns only after the disk has it."""

    async def find(self, till: str, request_id: str) -> Claimed | None:
        """What is known of this request, or None."""

    async def claim(self, request: Request) -> None:
        """Make the claim durable, before any paid call. Raises ``StorageError``: then no call is made."""

    async def settle(self, result: Result) -> StoredResult:
        """Give the result its ``seq`` and ``result_id``, encode, sign and store it. First outcome wins:
        a request that is already settled returns what was stored."""
