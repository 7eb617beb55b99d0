"""Check of the systemd unit: state, restarts, watchdog."""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.texts import Text

UNIT = "facepay-agent.service"
_FACTS = "LoadState,ActiveState,SubState,NRestarts,Result,WatchdogUSec"
_RESTARTS_MANY = 3
_LINES, _ERROR_MAX = "2000", 160  # lines of the journal that are read; shown characters of a line
_KILLED = "Failed with result 'watchdog'"  # a message of systemd
_ERRORS, _AS_JSON = ("error ", "critical "), ('"level": "error"', '"level": "critical"')


def state(world: World) -> Finding:
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
        return failed(f"{UNIT} is {state}{error}", _journal_fix("systemctl start facepay-agent"))
    if kills:
        return warning(f"hung and killed by its watchdog {kills} times", _journal_fix("facepay status"))
    restarts = int(values.get("NRestarts") or 0)
    if restarts >= _RESTARTS_MANY:
        return warning(f"restarted automatically {restarts} times{error}", _journal_fix("facepay status"))
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


def _journal_fix(then: str) -> Text:
    return Text("fix.read_service_log", then=then)
