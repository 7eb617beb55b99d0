"""The publishes of one connection that the broker has not answered yet. Belongs to the asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from agent.errors import TillError

CUT = "publish_cut"  # the connection ended after this publish and before its answer: it may be the reason


@dataclass(frozen=True, slots=True)
class Sent:
    """What one publish was: the last level of its topic, and the size of its packet."""

    topic: str
    size_bytes: int

    @property
    def kind(self) -> str:
        return self.topic.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.kind} of {self.size_bytes} bytes"


class Pubacks:
    """By message id of one connection; a lost connection fails them all."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._unanswered: dict[int, Sent] = {}
        self._fewer = asyncio.Event()

    @property
    def unanswered(self) -> int:
        """Sent and not answered, whether or not a caller still waits."""
        return len(self._unanswered)

    async def room(self, most: int) -> None:
        """Wait until fewer than ``most`` are unanswered."""
        while len(self._unanswered) >= most:
            self._fewer.clear()
            await self._fewer.wait()

    async def wait(self, mid: int, sent: Sent) -> bool:
        """True: somebody is subscribed, as far as the broker reports. Raises ``TillError``.

        To be called before the loop runs again after the publish: then no answer can be missed.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[mid] = answer
        self._unanswered[mid] = sent
        try:
            return await answer
        finally:
            self._waiting.pop(mid, None)

    def answered(self, mid: int, *, refusal: str, heard: bool) -> Sent | None:
        """``refusal``: the broker's reason, empty when it accepted; ``heard``: a client is subscribed.

        Returns what was answered; None: nothing with this id is unanswered.
        """
        sent = self._unanswered.pop(mid, None)
        self._fewer.set()
        answer = self._waiting.get(mid)
        if answer is not None and not answer.done():
            if refusal:
                answer.set_exception(TillError(f"the broker refused: {refusal}", code="publish_refused"))
            else:
                answer.set_result(heard)
        return sent

    def lost(self) -> Iterable[Sent]:
        """The connection ended before they were answered: what was sent may have arrived. Returns them."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    TillError("the link was lost before the broker answered", code="publish_cut")
                )
        cut = tuple(self._unanswered.values())
        self._waiting.clear()
        self._unanswered.clear()
        self._fewer.set()
        return cut
