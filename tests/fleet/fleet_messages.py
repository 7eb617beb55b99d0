"""Messages of simulated terminals for the tests of the fleet monitor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.messages.encode import TerminalIdentity, health, state
from agent.messages.topics import Topics

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"


def identity(terminal: str, site: str = "shop-1") -> TerminalIdentity:
    return TerminalIdentity(site, terminal, "0b6f2a3e-4f0c-4b1d-9a53-6a1a3f1c2d4e", "5f1d8c0e9b7a46d2")


def state_of(terminal: str, status: str = "online", site: str = "shop-1", **fields: Any) -> tuple[str, bytes]:
    """(topic, payload) of a state; the fields that ``fields`` does not name are those of a shop."""
    facts = {
        "version": "0.2.0",
        "profile": "shop",
        "accepted_risks": [],
        "limits": {"request_max_bytes": 98_304, "budget_max_ms": 8_000, "inline_reference": False},
        "conditions": [],
        "key": {"kid": "0" * 16, "sha256": "0" * 64},
    }
    more = {} if status == "offline" else facts
    return Topics(site, terminal).state, state(status, identity(terminal, site), more | fields)


def health_of(terminal: str, site: str = "shop-1", **fields: Any) -> tuple[str, bytes]:
    """(topic, payload) of a health; the other fields are those of the contract's example."""
    facts = json.loads((GOLDEN / "health.json").read_bytes())
    for name in ("schema", "site", "terminal", "boot_id", "epoch"):
        del facts[name]
    return Topics(site, terminal).health, health(identity(terminal, site), facts | fields)
