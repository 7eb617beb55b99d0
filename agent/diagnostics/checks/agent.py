"""Checks of the running agent: whether it answers, its config, its active conditions."""

from __future__ import annotations

from agent.control.status import fingerprint
from agent.diagnostics.check import Finding, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import AgentAway
from agent.health.conditions import condition_of
from agent.texts import Text


def status(world: World) -> Finding:
    """Raises ``StatusError`` for a hung agent or a refused user; then no check may open the camera."""
    try:
        document = world.status()
    except AgentAway as error:
        return warning(f"{error.code}: {error}", error.fix)
    if document["config_sha256"] != fingerprint(world.config()):
        why = Text("why.agent.status.config_differs")
        return warning(why, Text("fix.restart_for_changed_config"))
    return passed(
        Text(
            "why.agent.status.running",
            version=document["version"],
            uptime_s=document["uptime_s"],
            status=document["status"],
        )
    )


def conditions(world: World) -> Finding:
    """At most a warning: the check that finds the cause fails."""
    document = world.running()
    if document is None:
        return skipped(Text("why.agent.conditions.no_agent"))
    if not document["conditions"]:
        return passed(Text("why.agent.conditions.none"))
    first = document["conditions"][0]
    details = ((each["code"], each.get("detail", "")) for each in document["conditions"])
    summary = ", ".join(f"{code} ({detail})" if detail else code for code, detail in details)
    consequences = ", ".join(each["code"] for each in document["consequences"])
    both = Text("why.agent.conditions.active", codes=summary, consequences=consequences)
    return warning(both if consequences else summary, condition_fix(first["code"]))


def condition_fix(code: str) -> Text:
    """The fix of a condition of the running agent, which may be another version."""
    known = condition_of(code)
    return known.fix if known else Text("fix.other_version_running")
