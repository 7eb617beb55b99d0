"""Who waits for the broker's answer to which publish. Belongs to the asyncio loop."""

from __future__ import annotations

import asyncio

from agent.errors import TillError


class Pubacks:
    """By message id of one connection; a lost connection fails them all."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._unanswered: set[int] = set()

    @property
    def unanswered(self) -> int:
        """Sent and not answered, whether or not somebody still waits."""
        return len(self._unanswered)

    async def wait(self, mid: int) -> bool:
        """True: somebody is subscribed, as far as the broker tells. Raises ``TillError``.

        To be called before the loop runs again after the publish: then no answer can be missed.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[mid] = answer
        self._unanswered.add(mid)
        try:
            return await answer
        finally:
            self._waiting.pop(mid, None)

    def answered(self, mid: int, *, refusal: str, heard: bool) -> None:
        """``refusal``: the broker's words, empty when it accepted; ``heard``: somebody is subscribed."""
        self._unanswered.discard(mid)
        answer = self._waiting.get(mid)
        if answer is None or answer.done():
            return
        if refusal:
            answer.set_exception(TillError(f"the broker refused: {refusal}", code="publish_refused"))
        else:
            answer.set_result(heard)

    def lost(self) -> None:
        """The connection is gone before they were answered: what was sent may have arrived."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(
                    TillError("the link was lost before the broker answered", code="link_down")
                )
        self._waiting.clear()
        self._unanswered.clear()
