"""The request for a one-time link to the diagnostics page, over the status socket.

The permissions of the socket (owner and group) are the permissions of the page: only a user with access to
the socket gets a link, although every user of the machine can connect to the page's port.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from agent.control.server import request_document, unknown_response
from agent.errors import StatusError
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

SCHEMA = "facepay.link/1"
PAGE = b"page\n"
OFF, FAILED = "page_off", "page_unavailable"
_ANSWER_MAX_BYTES = 1_024
_TIMEOUT_S = 3.0
_REFUSALS = {OFF: Text("detail.page_off"), FAILED: Text("detail.page_not_opened")}


class PageLinkIssuer:
    """Issues one-time links. ``new_link``: makes a link; None while no page is open."""

    def __init__(self, listen: str, new_link: Callable[[], str] | None = None) -> None:
        self._listen = listen
        self.new_link = new_link

    async def answer(self, user: int) -> bytes:
        """The response for the status socket; ``user``: user id of the client."""
        if self.new_link is None:
            refusal = OFF if self._listen == "off" else FAILED
            return _answer(error=refusal)
        log.warning("page_link_handed_out", extra=facts(user=user))
        return _answer(url=self.new_link())


def _answer(**fields: str) -> bytes:
    return json.dumps({"schema": SCHEMA, **fields}).encode()


def request_link(path: Path) -> str:
    """A URL that opens the page once, for its first client, within a short time.

    Raises:
        AgentNotRunning, StatusError: as ``server.request_status``, and ``page_off``, ``page_unavailable``.
    """
    tree = request_document(path, PAGE, SCHEMA, timeout_s=_TIMEOUT_S, max_bytes=_ANSWER_MAX_BYTES) or {}
    refused = _REFUSALS.get(str(tree.get("error")))
    if refused is not None:
        raise StatusError(refused, code=str(tree["error"]))
    if not isinstance(tree.get("url"), str):
        raise unknown_response(path)
    return str(tree["url"])
