"""The handler of the page link request: each user of the local socket gets a link. Part of the root."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.control import page_link
from agent.log import facts

log = logging.getLogger(__name__)


class PageLinkIssuer:
    """Issues one-time links. ``new_link``: makes a link; None when no page is open."""

    def __init__(self, listen: str, new_link: Callable[[], str] | None) -> None:
        self._listen = listen
        self._new_link = new_link

    async def answer(self, user: int) -> bytes:
        """The response for the status socket; ``user``: user id of the client."""
        if self._new_link is None:
            return page_link.refusal(page_link.OFF if self._listen == "off" else page_link.FAILED)
        log.warning("page_link_handed_out", extra=facts(user=user))
        return page_link.answer(self._new_link())
