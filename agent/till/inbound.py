"""Messages of tills, from the MQTT connection to the inbox of the terminal.

Each stage is bounded: the messages by their rate, the inbox by the length of its queues, the acknowledgements
by the number of pending writes. An unreadable message is not queued. Its till gets a ``refused`` event at a
limited rate. Refusals have a separate queue, so that no request waits behind a flood of unreadable messages.
A rejected ack gets no event, and a rejected cancel only an event with its request_id: a till with an open
request takes a ``refused`` without request_id as the answer to this request.
"""

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from agent.core.pauses import BEAT_MS, PauseDetector
from agent.core.ports import CancelReceived, Clock, Inbound, MessageRefused, RequestReceived
from agent.core.reasons import Refusal
from agent.errors import StorageError
from agent.log import facts
from agent.messages.decode import DecodeRules, read_ack, read_cancel, read_request
from agent.messages.fields import Rejected
from agent.messages.topics import ACK, CANCEL, REQUEST
from agent.mqtt.paho_client import Message
from agent.tasks import Background
from agent.till.rate_limits import TillRateLimits

log = logging.getLogger(__name__)

ACKS_MAX, ACKS_OF_TILL_MAX = 100, 20  # pending writes
Close = Callable[[str, str], Awaitable[None]]  # (till, result_id)
REFUSALS = ""  # queue of refusals for unreadable messages: no till has an empty id
UNKNOWN_TILLS = "?"  # the common queue of unknown tills: no till id has this character
SENDER_QUEUE_MAX = 20  # messages of one sender
SENDERS_MAX = 64  # senders that wait at the same time

T = TypeVar("T")


class Inbox(Generic[T]):
    """The messages between the MQTT connection and the terminal: one queue per sender, served in turn.

    One sender can fill its own queue only, so a request of another till waits for at most one message of each
    sender. For the event loop only. ``dropped`` counts messages that found no free place.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._filled = asyncio.Event()
        self.dropped = 0

    def put(self, sender: str, value: T) -> bool:
        """Append ``value``; False: dropped."""
        queue = self._queues.get(sender)
        if queue is None and len(self._queues) < SENDERS_MAX:
            queue = self._queues[sender] = deque()
        if queue is None or len(queue) >= SENDER_QUEUE_MAX:
            self.dropped += 1
            return False
        queue.append(value)
        self._filled.set()
        return True

    async def get(self) -> T:
        """Wait for the oldest message of the sender whose turn it is. For one reader."""
        while not self._queues:
            self._filled.clear()
            await self._filled.wait()
        sender, queue = self._queues.popitem(last=False)
        value = queue.popleft()
        if queue:
            self._queues[sender] = queue  # at the end: the other senders come first
        return value


class TillMessages:
    """Decodes the messages of tills and puts them into ``inbox``. For the event loop only.

    ``close`` stores an acknowledgement; may raise ``StorageError``. ``unanswered`` counts rejected messages
    that get no event by rule.
    """

    def __init__(
        self, rules: DecodeRules, clock: Clock, limits: TillRateLimits, background: Background, close: Close
    ) -> None:
        self._rules, self._clock, self._limits = rules, clock, limits
        self._background, self._close = background, close
        self._pending = Counter[str]()
        self._pauses = PauseDetector(clock.now_ms())
        self.inbox: Inbox[Inbound] = Inbox()
        self.unanswered = 0

    async def detect_pauses(self) -> None:
        """Detect pauses of this process until cancelled."""
        self._pauses = PauseDetector(self._clock.now_ms())
        while True:
            await asyncio.sleep(BEAT_MS / 1e3)
            self._pauses.record_beat(self._clock.now_ms())

    def handle(self, till: str, kind: str, message: Message) -> None:
        """Handle an admitted message on a topic of this till. Its content is hostile. Never raises."""
        try:
            if kind == ACK:
                result_id = read_ack(message.payload, till, self._rules)
                self._acknowledge(till, result_id)
            else:
                now_ms = self._clock.now_ms()
                inbound = _read(till, kind, message, self._rules, (now_ms, self._pauses.waited_ms(now_ms)))
                self.inbox.put(till if self._limits.is_known(till) else UNKNOWN_TILLS, inbound)
        except Rejected as error:
            self._refuse(kind, MessageRefused(till, error.request_id, error.refusal, error.detail))
        except Exception:  # a bug here: the till must not wait for a result
            log.exception("inbound_failed", extra=facts(till=till, kind=kind))
            internal = "internal error, see the terminal's log"
            self._refuse(kind, MessageRefused(till, None, Refusal.NOT_READY, internal))

    def _refuse(self, kind: str, refused: MessageRefused) -> None:
        """Queue a refusal, or log a rejected message without an answer. Both within the rate of refusals."""
        is_answered = kind == REQUEST or (kind == CANCEL and refused.request_id is not None)
        self.unanswered += not is_answered
        if not self._limits.admits_refusal(refused.till):
            return
        if is_answered:
            self.inbox.put(REFUSALS, refused)
        else:
            why = {"kind": kind, "refusal": refused.refusal, "why": refused.detail}
            log.warning("message_rejected", extra=facts(till=refused.till, **why))

    def _acknowledge(self, till: str, result_id: str) -> None:
        """Beyond the limits an ack is dropped: a till repeats the ack when the result is published again."""
        if self._pending.total() < ACKS_MAX and self._pending[till] < ACKS_OF_TILL_MAX:
            self._pending[till] += 1
            self._background.add(self._store_ack(till, result_id))

    async def _store_ack(self, till: str, result_id: str) -> None:
        try:
            await self._close(till, result_id)
        except StorageError as error:
            log.error("ack_not_stored", extra=facts(result_id=result_id, why=error))
        finally:
            self._pending[till] -= 1
            if not self._pending[till]:
                del self._pending[till]


def _read(till: str, kind: str, message: Message, rules: DecodeRules, arrival: tuple[int, int]) -> Inbound:
    """``arrival``: the time now and the length of a pause in which the message may have waited, in ms."""
    now_ms, paused_ms = arrival
    if message.retained:  # before decoding: a retained photo must not be decoded
        raise Rejected(Refusal.REQUEST_RETAINED, "never retain a request or cancel")
    if kind == CANCEL:
        return CancelReceived(till, read_cancel(message.payload, till, rules))
    left_ms = None if message.expires_in_s is None else message.expires_in_s * 1000
    request = read_request(message.payload, till, rules, received_ms=now_ms, expires_in_ms=left_ms)
    return RequestReceived(request, paused_ms=paused_ms)
