"""Ports: the interfaces between the terminal and its adapters, with at most three methods each.

Adapters are in the folders camera, vision, compare, till and outbox; only composition roots name them.
A method raises ``AgentError`` subclasses only. Any other exception is a bug.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.core.model import Analysis, Comparison, Crop, Frame, Request, Result, Shot
from agent.core.reasons import Guidance, Refusal


class Clock(Protocol):
    """The boot clock and the wall clock, as a port so that tests can set the time."""

    def now_ms(self) -> int:
        """Milliseconds on CLOCK_BOOTTIME: monotonic, includes suspend. The clock of every ``*_ms`` time."""

    def unix_ms(self) -> int:
        """Wall clock, for people and signatures only. May jump."""


class Camera(Protocol):
    """Source of the newest frame. Older frames are dropped, never queued."""

    def start(self) -> None:
        """Start capturing in a separate thread. Raises ``CameraError`` without a camera."""

    async def next_frame(self, after_seq: int) -> Frame:
        """Wait for the newest frame with ``seq > after_seq``. Raises ``CameraError`` on a stall."""

    def stop(self) -> None:
        """Stop and release within 2 s. Safe to call twice."""


class FaceAnalyzer(Protocol):
    """Local face detection. Called from one worker thread only, one call at a time."""

    def begin(self, at_ms: int) -> None:
        """Delete face, tracks and presence, at the start and at the end of a verification."""

    def analyze(self, frame: Frame) -> Analysis:
        """Find the payer's face in one frame. Invalid pixels are ``no_face``, not an error."""

    def crop(self, shot: Shot) -> Crop:
        """JPEG of the face with margin from the full-size frame, bystanders blanked, at most 60 kB."""


ImageSource = bytes | str
"""One image of a comparison: encoded bytes, or the url that the compare API downloads itself."""


class Compare(Protocol):
    """The compare API. Keeps no picture: the caller holds the reference of a verification."""

    async def prepare(self, request: Request) -> ImageSource:
        """Fetch or check the reference photo of a new request and return it; open the connection.

        Raises ``CompareError`` with a ``reference_*`` code for an unusable reference photo. A connection that
        cannot be opened is no error here: ``call`` raises the error.
        """

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        """Make one API call with one crop. Raises ``CompareError`` for every answer without a similarity.

        ``number`` counts the calls of one verification from 1.

        Calls ``on_sent`` when the request is sent to the API. From then on the call counts as paid, even if
        it fails or is cancelled. A call without ``on_sent`` costs nothing.
        """

    async def close(self) -> None:
        """Close connections. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A well-formed request arrived. ``core.admission`` refuses a retained request."""

    request: Request
    retained: bool = False
    paused_ms: int = 0  # length of a pause in which the message may have waited unread; 0: none


@dataclass(frozen=True, slots=True)
class CancelReceived:
    till: str
    request_id: str


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """The till adapter refused a message that is no usable request."""

    till: str
    request_id: str | None
    refusal: Refusal
    detail: str


Inbound = RequestReceived | CancelReceived | MessageRefused


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    request: Request
    budget_ms: int


@dataclass(frozen=True, slots=True)
class GuidanceEvent:
    request: Request
    guidance: Guidance


@dataclass(frozen=True, slots=True)
class StageEvent:
    """A verification entered a new state; ``stage`` is the name of the state in lower case."""

    request: Request
    stage: str


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A refusal.

    ``result_id``: the id of the match that ``result_expired`` replaces; the till acknowledges it.
    ``asks``: API calls that were made for an accepted request whose result could not be stored.
    """

    till: str
    request_id: str | None
    refusal: Refusal
    detail: str = ""
    result_id: str | None = None
    asks: int | None = None


TillEvent = AcceptedEvent | GuidanceEvent | StageEvent | RefusedEvent


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result on disk: the exact bytes of every delivery."""

    till: str
    request_id: str
    result_id: str
    seq: int
    payload: bytes
    is_match: bool
    deadline_ms: int  # boot clock; a match with less than the publish margin left is not published


class Till(Protocol):
    """The connection to the tills; MQTT in production."""

    async def receive(self) -> Inbound:
        """Wait for the next message. Acknowledgements close their outbox row and are not returned."""

    async def publish(self, event: TillEvent) -> None:
        """Publish an event with best effort (QoS 0): a lost event changes no outcome. Never raises."""

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        """Publish a stored result. Returns at PUBACK, or when the result is queued while the link is down.

        ``again``: for a repeat of the request. Returns at once; the adapter publishes the result next.

        The adapter sends the same bytes again with backoff until the result is acknowledged or expired.
        """


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """The record of (till, request_id). ``result`` is None while the verification runs."""

    payload_sha256: str
    result: StoredResult | None
    is_forgotten: bool = False  # the record is deleted after the retention time; only its id is kept


class ClaimStore(Protocol):
    """Durable claims and results. Each method returns only after the data is on disk."""

    async def find(self, till: str, request_id: str) -> ClaimRecord | None:
        """The record of this request, or None."""

    async def claim(self, request: Request) -> None:
        """Store the claim before any paid call. Raises ``StorageError``: then no call is made."""

    async def settle(self, result: Result) -> StoredResult:
        """Assign ``seq`` and ``result_id``; encode, sign and store the result.

        The first outcome wins: for a settled request, return the stored result.
        """
