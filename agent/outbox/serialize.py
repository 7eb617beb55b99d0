"""JSON form of a request in the outbox: all fields that a result needs, without image bytes."""

from __future__ import annotations

import json
from dataclasses import asdict

from agent.core.model import Reference, Request


def as_json(request: Request) -> str:
    tree = asdict(request)
    del tree["age_ms"], tree["expires"]  # needed only when the request arrives
    tree["reference"] = {"url": request.reference.url, "sha256": request.reference.sha256}
    return json.dumps(tree)


def from_json(text: str) -> Request:
    """The stored request; its reference has no image bytes."""
    tree = json.loads(text)
    tree["reference"] = Reference(**tree["reference"])
    tree["require"] = tuple(tree["require"])
    return Request(**tree)
