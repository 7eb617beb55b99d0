"""Messages of tills, from admission on the network thread to the terminal's inbox.

Each stage is bounded: the gate by sender, the inbox by lane, the acks that are being stored. An unreadable
message ends here. Its till gets a ``refused`` event, at a limited rate and through a lane of its own, so that
no flood is answered with a flood and no request waits behind it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from agent.core.ports import CancelReceived, Clock, Inbound, Refused, RequestReceived
from agent.core.reasons import Refusal
from agent.errors import StorageError
from agent.log import facts
from agent.messages.decode import DecodeRules, read_ack, read_cancel, read_request
from agent.messages.fields import Rejected
from agent.messages.topics import ACK, CANCEL
from agent.mqtt.paho_client import Message
from agent.tasks import Background
from agent.till.gate import Gate
from agent.till.inbox import Inbox

log = logging.getLogger(__name__)

ACKS_MAX, ACKS_OF_TILL_MAX = 100, 20  # being stored at once
Close = Callable[[str, str], Awaitable[None]]  # (till, result_id)
REFUSALS = ""  # the lane of answers to unreadable messages: no till has an empty id


class TillMessages:
    """Belongs to the event loop. ``close``: stores that a till has a result; may raise ``StorageError``."""

    def __init__(
        self, rules: DecodeRules, clock: Clock, gate: Gate, background: Background, close: Close
    ) -> None:
        self._rules, self._clock, self._gate = rules, clock, gate
        self._background, self._close = background, close
        self._acking = Counter[str]()
        self.inbox: Inbox[Inbound] = Inbox()

    def arrived(self, till: str, kind: str, message: Message) -> None:
        """An admitted message on a topic of this till. Its content is hostile."""
        try:
            if kind == ACK:
                result_id = read_ack(message.payload, till, self._rules)
                self._gate.readable(till)
                self._acknowledge(till, result_id)
            else:
                inbound = _read(till, kind, message, self._rules, self._clock.now_ms())
                self._gate.readable(till)
                self.inbox.put(till, inbound)
        except Rejected as error:
            self._refuse(Refused(till, error.request_id, error.refusal, error.detail))
        except Exception:  # a bug of ours: the till must not wait for an answer that cannot come
            log.exception("inbound_failed", extra=facts(till=till, kind=kind))
            self._refuse(Refused(till, None, Refusal.NOT_READY, "internal error, see the terminal's log"))

    def _refuse(self, refused: Refused) -> None:
        """Answer an unreadable message, within limits: a flood is not answered with a flood."""
        if self._gate.answers(refused.till):
            self.inbox.put(REFUSALS, refused)

    def _acknowledge(self, till: str, result_id: str) -> None:
        """Beyond the limits an ack is dropped: a till repeats it when the result is sent again."""
        if self._acking.total() < ACKS_MAX and self._acking[till] < ACKS_OF_TILL_MAX:
            self._acking[till] += 1
            self._background.add(self._acknowledged(till, result_id))

    async def _acknowledged(self, till: str, result_id: str) -> None:
        try:
            await self._close(till, result_id)
        except StorageError as error:
            log.error("ack_not_stored", extra=facts(result_id=result_id, why=error))
        finally:
            self._acking[till] -= 1
            if not self._acking[till]:
                del self._acking[till]


def _read(till: str, kind: str, message: Message, rules: DecodeRules, now_ms: int) -> Inbound:
    if message.retained:  # before its content: a retained photo must not even be decoded
        raise Rejected(Refusal.REQUEST_RETAINED, "never retain a request or cancel")
    if kind == CANCEL:
        return CancelReceived(till, read_cancel(message.payload, till, rules))
    left_ms = None if message.expires_in_s is None else message.expires_in_s * 1000
    request = read_request(message.payload, till, rules, received_ms=now_ms, expires_in_ms=left_ms)
    return RequestReceived(request)
