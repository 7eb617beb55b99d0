"""Checks of the running agent: whether it answers, its config, its active conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.control.status import fingerprint
from agent.diagnostics.check import Finding, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import AgentAway
from agent.health.conditions import condition_of
from agent.texts import Text

_RESTART = Text("fix.restart_for_changed_config")


def status(world: World) -> Finding:
    """Raises ``StatusError`` for a hung agent or a refused user; then no check may open the camera."""
    try:
        document = world.status()
    except AgentAway as error:
        return warning(f"{error.code}: {error}", error.fix)
    if document["config_sha256"] != fingerprint(world.config()):
        return warning("the config file differs from the config of the running agent", _RESTART)
    return passed(f"version {document['version']}, up {document['uptime_s']} s, {document['status']}")


def conditions(world: World) -> Finding:
    """At most a warning: the check that finds the cause fails."""
    document = world.running()
    if document is None:
        return skipped("no agent is running")
    if not document["conditions"]:
        return passed("none")
    first = document["conditions"][0]
    summary = ", ".join(_with_detail(each) for each in document["conditions"])
    consequences = ", ".join(each["code"] for each in document["consequences"])
    summary += f"; consequences: {consequences}" if consequences else ""
    known = condition_of(first["code"])
    return warning(summary, known.fix if known else Text("fix.other_version_running"))


def _with_detail(condition: Mapping[str, Any]) -> str:
    detail = condition.get("detail", "")
    return f"{condition['code']} ({detail})" if detail else str(condition["code"])
