"""A one-time link to the diagnostics page, asked of the running agent over its status socket.

The socket's permissions (owner and group) are the page's, too: whoever may ask there is let in, nobody else
on the machine is, though the page itself listens where everybody can reach it.
"""

from __future__ import annotations

import json
from pathlib import Path

from agent.control.server import exchange
from agent.core import strict_json
from agent.errors import StatusError
from agent.texts import Text

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


def ask_link(path: Path) -> str:
    """A url that lets in whoever opens it first, once and soon.

    Raises:
        AgentAway, StatusError: as ``socket.ask``, and ``page_off``, ``page_unavailable``.
    """
    raw = exchange(path, PAGE, timeout_s=_TIMEOUT_S, max_bytes=_ANSWER_MAX_BYTES)
    try:
        tree = strict_json.loads(raw) if len(raw) <= _ANSWER_MAX_BYTES else None
    except ValueError:
        tree = None
    if isinstance(tree, dict) and tree.get("schema") == SCHEMA:
        refused = _REFUSALS.get(str(tree.get("error")))
        if refused is not None:
            raise StatusError(refused, code=str(tree["error"]))
        if isinstance(tree.get("url"), str):
            return str(tree["url"])
    raise StatusError(
        f"{path}: the agent does not answer this question",
        code="status_malformed",
        fix=Text("fix.older_agent_running"),
    )
