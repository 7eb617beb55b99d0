"""A one-time link to the diagnostics page, asked of the running agent over its status socket.

The socket's permissions (owner and group) are the page's, too: whoever may ask there is let in, nobody else
on the machine is, though the page itself listens where everybody can reach it.
"""

from __future__ import annotations

import json
from pathlib import Path

from agent.core import strict_json
from agent.diagnostics.socket import exchange
from agent.errors import StatusError

SCHEMA = "facepay.link/1"
PAGE = b"page\n"
OFF, FAILED = "page_off", "page_unavailable"
_ANSWER_MAX_BYTES = 1_024
_TIMEOUT_S = 3.0
_REFUSALS = {
    OFF: (
        "this terminal has no diagnostics page",
        'Set listen = "loopback" under [page] in the config, then restart the agent.',
        '请在配置文件 [page] 中设置 listen = "loopback"，然后重启服务。',
    ),
    FAILED: (
        "the diagnostics page could not be opened",
        "The agent's log says why at page_failed: journalctl -u facepay-agent | grep page_failed",
        "原因见服务日志 page_failed：journalctl -u facepay-agent | grep page_failed",
    ),
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
            words, fix, fix_zh = refused
            raise StatusError(words, code=str(tree["error"]), fix=fix, fix_zh=fix_zh)
        if isinstance(tree.get("url"), str):
            return str(tree["url"])
    raise StatusError(
        f"{path}: the agent does not answer this question",
        code="status_malformed",
        fix="An older agent may still run: restart it (systemctl restart facepay-agent).",
        fix_zh="可能仍在运行旧版本，请重启：systemctl restart facepay-agent。",
    )
