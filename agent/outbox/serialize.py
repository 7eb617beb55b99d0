"""A request as it is kept in the outbox: everything a result needs, and no picture."""

from __future__ import annotations

import json
from dataclasses import asdict

from agent.core.model import Reference, Request


def as_json(request: Request) -> str:
    tree = asdict(request)
    del tree["age_ms"], tree["expires"]  # of the arrival, of no use for a result
    tree["reference"] = {"url": request.reference.url, "sha256": request.reference.sha256}
    return json.dumps(tree)


def from_json(text: str) -> Request:
    """The request again; its reference has no bytes any more."""
    tree = json.loads(text)
    tree["reference"] = Reference(**tree["reference"])
    tree["require"] = tuple(tree["require"])
    return Request(**tree)
