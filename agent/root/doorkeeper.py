"""Who may look at the diagnostics page: whoever the local socket lets in. Part of the root."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.diagnostics import link
from agent.log import facts

log = logging.getLogger(__name__)


class Doorkeeper:
    """Hands out one-time links. ``new_link`` is set once the page is open; None: there is none."""

    def __init__(self, listen: str) -> None:
        self._listen = listen
        self.new_link: Callable[[], str] | None = None

    async def answer(self, user: int) -> bytes:
        """For the status socket; ``user``: who asks."""
        if self.new_link is None:
            return link.refusal(link.OFF if self._listen == "off" else link.FAILED)
        log.warning("page_link_handed_out", extra=facts(user=user))
        return link.answer(self.new_link())
