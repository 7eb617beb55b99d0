"""The running agent: does it answer, with this config, and what does it complain about?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.control.status import fingerprint
from agent.diagnostics.check import Finding, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import AgentAway
from agent.health.conditions import CONDITIONS
from agent.texts import Text

_RESTART = Text("fix.restart_for_changed_config")


def status(world: World) -> Finding:
    """A hung agent, or one this user may not ask, raises ``StatusError``: nobody may then take its camera."""
    try:
        told = world.status()
    except AgentAway as error:
        return warning(f"{error.code}: {error}", error.fix)
    if told["config_sha256"] != fingerprint(world.config()):
        return warning("the config file differs from what the agent runs with", _RESTART)
    return passed(f"version {told['version']}, up {told['uptime_s']} s, {told['status']}")


def conditions(world: World) -> Finding:
    """At most a warning: the check that finds the cause is the one that fails."""
    told = world.running()
    if told is None:
        return skipped("no agent runs")
    if not told["conditions"]:
        return passed("none")
    first = told["conditions"][0]
    words = ", ".join(_with_detail(each) for each in told["conditions"])
    follow = ", ".join(each["code"] for each in told["consequences"])
    words += f"; goes with it: {follow}" if follow else ""
    known = CONDITIONS.get(first["code"])
    return warning(words, known.fix if known else Text("fix.other_version_running"))


def _with_detail(condition: Mapping[str, Any]) -> str:
    detail = condition.get("detail", "")
    return f"{condition['code']} ({detail})" if detail else str(condition["code"])
