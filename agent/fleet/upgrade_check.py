"""Whether the agent is healthy after an upgrade of its package. The caller keeps or replaces the version."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from agent.errors import StatusError
from agent.fleet.time_limits import CHECK_EVERY_S, CHECKS_MIN
from agent.texts import Text


def wait_until_healthy(
    status: Callable[[], Mapping[str, Any]],
    version: str,
    before: Mapping[str, Any],
    within_s: float,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> Text | None:
    """Check the running agent until it is healthy in four consecutive checks.

    Args:
        status: the status document of the running agent. Raises ``StatusError``.
        version: of the installed package; another one is a process that was not restarted.
        before: the status document before the upgrade; empty: unknown. Its faults do not count.
    Returns:
        The problem after ``within_s`` seconds; None: healthy.
    """
    end_s, healthy, last = now_s() + within_s, 0, Text("detail.no_check_yet")
    while now_s() < end_s:
        problem = _problem(status, version, before)
        healthy = 0 if problem else healthy + 1
        if healthy >= CHECKS_MIN:
            return None
        last = problem or Text("detail.not_four_checks")
        sleep(CHECK_EVERY_S)
    return last


def _problem(status: Callable[[], Mapping[str, Any]], version: str, before: Mapping[str, Any]) -> Text | None:
    try:
        document = status()
    except StatusError as error:
        return error.sentence
    if document.get("version") != version:
        return Text("detail.version_runs", running=document.get("version"), installed=version)
    if not _is_connected(document) and (not before or _is_connected(before)):
        return Text("detail.agent_no_broker")
    new = [code for code in _errors(document) if code not in _errors(before)]
    return Text("detail.new_faults", codes=", ".join(new)) if new else None


def _is_connected(status: Mapping[str, Any]) -> bool:
    mqtt = status.get("mqtt")
    return isinstance(mqtt, Mapping) and mqtt.get("connected") is True


def _errors(status: Mapping[str, Any]) -> list[str]:
    conditions = status.get("conditions")
    rows = (
        [condition for condition in conditions if isinstance(condition, Mapping)]
        if isinstance(conditions, list)
        else []
    )
    return [str(row.get("code")) for row in rows if row.get("severity") == "error"]
