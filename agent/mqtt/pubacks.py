"""The publishes of one connection that wait for a PUBACK. For the asyncio loop only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from agent.errors import TillError

CUT = "publish_cut"  # the connection ended between PUBLISH and PUBACK: this message may be the cause


@dataclass(frozen=True, slots=True)
class Sent:
    """Topic and packet size of one publish. ``kind`` is the last level of the topic."""

    topic: str
    size_bytes: int

    @property
    def kind(self) -> str:
        return self.topic.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.kind} of {self.size_bytes} bytes"


class Pubacks:
    """Waiting publishes by message id of one connection; a lost connection fails all of them."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._unanswered: dict[int, Sent] = {}
        self._changed = asyncio.Event()

    @property
    def unanswered(self) -> int:
        """Publishes without PUBACK, also those whose caller no longer waits."""
        return len(self._unanswered)

    async def wait_below(self, most: int) -> None:
        """Wait until fewer than ``most`` publishes are unanswered."""
        while len(self._unanswered) >= most:
            self._changed.clear()
            await self._changed.wait()

    async def wait(self, mid: int, sent: Sent) -> bool:
        """Wait for the PUBACK. True when the broker reports a subscriber.

        Call before the loop runs again after the publish; otherwise the PUBACK can be missed.

        Raises:
            TillError: ``publish_refused`` or ``publish_cut``.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[mid] = answer
        self._unanswered[mid] = sent
        try:
            return await answer
        finally:
            self._waiting.pop(mid, None)

    def answered(self, mid: int, *, refusal: str, delivered: bool) -> Sent | None:
        """Record a PUBACK; return its publish, or None when no publish with this id is unanswered.

        Args:
            refusal: the broker's reason; empty when the broker accepted.
            delivered: a client is subscribed.
        """
        sent = self._unanswered.pop(mid, None)
        self._changed.set()
        answer = self._waiting.get(mid)
        if answer is not None and not answer.done():
            if refusal:
                answer.set_exception(TillError(f"the broker refused: {refusal}", code="publish_refused"))
            else:
                answer.set_result(delivered)
        return sent

    def lost(self) -> Iterable[Sent]:
        """The connection ended: fail and return all unanswered publishes. The messages may have arrived."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(TillError("the connection ended before the PUBACK", code="publish_cut"))
        cut = tuple(self._unanswered.values())
        self._waiting.clear()
        self._unanswered.clear()
        self._changed.set()
        return cut
