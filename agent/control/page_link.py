"""The request for a one-time link to the diagnostics page, over the status socket.

The permissions of the socket (owner and group) are the permissions of the page: only a user with access to
the socket gets a link, although every user of the machine can connect to the page's port.
"""

from __future__ import annotations

import json
from pathlib import Path

from agent.control.server import exchange, parse_document, unknown_response
from agent.errors import StatusError

SCHEMA = "facepay.link/1"
PAGE = b"page\n"
OFF, FAILED = "page_off", "page_unavailable"
_ANSWER_MAX_BYTES = 1_024
_TIMEOUT_S = 3.0
_REFUSALS = {
    OFF: "this terminal has no diagnostics page",
    FAILED: "the diagnostics page could not be opened",
}


def answer(url: str) -> bytes:
    return json.dumps({"schema": SCHEMA, "url": url}).encode()


def refusal(code: str) -> bytes:
    return json.dumps({"schema": SCHEMA, "error": code}).encode()


def request_link(path: Path) -> str:
    """A URL that opens the page once, for its first client, within a short time.

    Raises:
        AgentAway, StatusError: as ``server.ask``, and ``page_off``, ``page_unavailable``.
    """
    raw = exchange(path, PAGE, timeout_s=_TIMEOUT_S, max_bytes=_ANSWER_MAX_BYTES)
    tree = parse_document(raw, SCHEMA, _ANSWER_MAX_BYTES)
    if tree is not None:
        refused = _REFUSALS.get(str(tree.get("error")))
        if refused is not None:
            raise StatusError(refused, code=str(tree["error"]))
        if isinstance(tree.get("url"), str):
            return str(tree["url"])
    raise unknown_response(path)
