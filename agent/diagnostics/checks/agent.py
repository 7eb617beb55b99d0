"""Checks of the running agent: whether it answers, its config, its active conditions, its systemd unit."""

from __future__ import annotations

from agent.control.status import fingerprint
from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import AgentAway
from agent.health.conditions import condition_of
from agent.texts import Text

UNIT = "facepay-agent.service"
_FACTS = "LoadState,ActiveState,SubState,NRestarts,Result,WatchdogUSec"
_RESTARTS_MANY = 3
_LINES, _ERROR_MAX = "2000", 160  # lines of the journal that are read; shown characters of a line
_KILLED = "Failed with result 'watchdog'"  # a message of systemd
_ERRORS, _AS_JSON = ("error ", "critical "), ('"level": "error"', '"level": "critical"')


def status(world: World) -> Finding:
    """Raises ``StatusError`` for a hung agent or a refused user; then no check may open the camera."""
    try:
        document = world.status()
    except AgentAway as error:
        return warning(f"{error.code}: {error}", error.fix)
    if document["config_sha256"] != fingerprint(world.config()):
        why = "the config file differs from the config of the running agent"
        return warning(why, Text("fix.restart_for_changed_config"))
    return passed(f"version {document['version']}, up {document['uptime_s']} s, {document['status']}")


def conditions(world: World) -> Finding:
    """At most a warning: the check that finds the cause fails."""
    document = world.running()
    if document is None:
        return skipped("no agent is running")
    if not document["conditions"]:
        return passed("none")
    first = document["conditions"][0]
    details = ((each["code"], each.get("detail", "")) for each in document["conditions"])
    summary = ", ".join(f"{code} ({detail})" if detail else code for code, detail in details)
    consequences = ", ".join(each["code"] for each in document["consequences"])
    summary += f"; consequences: {consequences}" if consequences else ""
    return warning(summary, condition_fix(first["code"]))


def condition_fix(code: str) -> Text:
    """The fix of a condition of the running agent, which may be another version."""
    known = condition_of(code)
    return known.fix if known else Text("fix.other_version_running")


def unit(world: World) -> Finding:
    if not (world.root / "run/systemd/system").is_dir():
        return skipped("this machine was not started by systemd")
    output = world.program("systemctl", "show", UNIT, f"--property={_FACTS}")
    if output is None:
        return skipped("systemctl does not answer here")
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if values.get("LoadState") == "not-found":
        return skipped(f"{UNIT} is not installed")
    journal = _journal(world)
    error, kills = _last_error(journal), sum(_KILLED in line for line in journal)
    if values.get("ActiveState") != "active":
        state = "/".join(values.get(key, "?") for key in ("ActiveState", "SubState", "Result"))
        return failed(
            f"{UNIT} is {state}{error}", Text("fix.read_service_log", then="systemctl start facepay-agent")
        )
    if kills:
        return warning(
            f"hung and killed by its watchdog {kills} times",
            Text("fix.read_service_log", then="facepay status"),
        )
    restarts = int(values.get("NRestarts") or 0)
    if restarts >= _RESTARTS_MANY:
        return warning(
            f"restarted automatically {restarts} times{error}",
            Text("fix.read_service_log", then="facepay status"),
        )
    if values.get("WatchdogUSec", "0") in ("0", "infinity"):
        return warning("no watchdog: a hung agent is not restarted", Text("fix.install_shipped_unit"))
    return passed(f"active, {restarts} restarts, watchdog {values['WatchdogUSec']}")


def _journal(world: World) -> list[str]:
    """The unit's newest lines of this boot, oldest first; empty where this user may not read them."""
    output = world.program("journalctl", "-u", UNIT, "-b", "-n", _LINES, "-o", "cat", "--no-pager")
    return [line.strip() for line in (output or "").splitlines()]


def _last_error(journal: list[str]) -> str:
    """The last error line of the agent, cut to ``_ERROR_MAX`` characters; empty when there is none."""
    errors = [line for line in journal if line.startswith(_ERRORS) or any(sign in line for sign in _AS_JSON)]
    return f"; last error: {errors[-1][:_ERROR_MAX]}" if errors else ""
