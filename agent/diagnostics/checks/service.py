"""The systemd unit: does it run, how often was it started again?"""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.texts import Text

UNIT = "facepay-agent.service"
_FACTS = "LoadState,ActiveState,SubState,NRestarts,Result,WatchdogUSec"
_RESTARTS_MANY = 3
_LINES, _ERROR_MAX = "2000", 160  # of the journal that are looked at; characters of one that is shown
_KILLED = "Failed with result 'watchdog'"  # systemd's words
_ERRORS, _AS_JSON = ("error ", "critical "), ('"level": "error"', '"level": "critical"')


def state(world: World) -> Finding:
    if not (world.root / "run/systemd/system").is_dir():
        return skipped("this machine was not started by systemd")
    told = world.program("systemctl", "show", UNIT, f"--property={_FACTS}")
    if told is None:
        return skipped("systemctl does not answer here")
    values = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    if values.get("LoadState") == "not-found":
        return skipped(f"{UNIT} is not installed")
    journal = _journal(world)
    error, kills = _last_error(journal), sum(_KILLED in line for line in journal)
    if values.get("ActiveState") != "active":
        words = "/".join(values.get(key, "?") for key in ("ActiveState", "SubState", "Result"))
        return failed(f"{UNIT} is {words}{error}", _look("systemctl start facepay-agent"))
    if kills:
        return warning(f"hung, and killed by its watchdog, {kills} times", _look("facepay status"))
    restarts = int(values.get("NRestarts") or 0)
    if restarts >= _RESTARTS_MANY:
        return warning(f"started again {restarts} times by itself{error}", _look("facepay status"))
    if values.get("WatchdogUSec", "0") in ("0", "infinity"):
        return warning("no watchdog: a hung agent stays hung", _unit())
    return passed(f"active, {restarts} restarts, watchdog {values['WatchdogUSec']}")


def _journal(world: World) -> list[str]:
    """The unit's newest lines of this boot, oldest first; none where this user may not read them."""
    told = world.program("journalctl", "-u", UNIT, "-b", "-n", _LINES, "-o", "cat", "--no-pager")
    return [line.strip() for line in (told or "").splitlines()]


def _last_error(journal: list[str]) -> str:
    """What the agent logged last as an error, cut short; empty when nothing."""
    errors = [line for line in journal if line.startswith(_ERRORS) or any(sign in line for sign in _AS_JSON)]
    return f"; last error: {errors[-1][:_ERROR_MAX]}" if errors else ""


def _look(then: str) -> Text:
    return Text("fix.read_service_log", then=then)


def _unit() -> Text:
    return Text("fix.install_shipped_unit")
