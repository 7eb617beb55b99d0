"""Checks of the running agent: whether it answers, its config, its active conditions, its systemd unit."""

import re
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from agent.control.status import config_fingerprint
from agent.diagnostics.check import Finding, consequence, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.errors import AgentError, AgentNotRunning
from agent.health.conditions import condition_of
from agent.texts import Text, text_of_fields
from agent.toml_layers import trial_layer

UNIT = "facepay-agent.service"
_PROPERTIES = (
    "LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,WatchdogUSec,ExecMainStatus,StatusText"
)
_RESTARTS_MANY = 3
_JOURNAL_LINES = "2000"  # that are read
_ERROR_MAX_CHARS = 160  # of a line that is shown
_KILLED = "Failed with result 'watchdog'"  # a message of systemd
_ERROR_PREFIXES, _JSON_ERROR_MARKS = ("error ", "critical "), ('"level": "error"', '"level": "critical"')
_COMMAND_ERROR = re.compile(r"[a-z]+(?:_[a-z]+)+: ")  # of a command that ends: ``code: sentence``
_STARTING, _SCHEDULED_RESTART = "Starting ", "Scheduled restart job"  # messages of systemd
_CREDENTIALS_STATUS = "243"  # EXIT_CREDENTIALS of systemd.exec(5)
_WAITS_FOR_CONFIG = "config refused"  # root.config_wait
_DISABLED = "disabled"


def status(inputs: CheckInputs) -> Finding:
    """Raises ``StatusError`` for a hung agent or a refused user; then no check may open the camera."""
    try:
        document = inputs.status()
    except AgentNotRunning as error:
        return warning(error.sentence, error.fix)
    if document["config_sha256"] != config_fingerprint(inputs.config()):
        return warning(Text("why.agent.status.config_differs"), Text("fix.restart_for_changed_config"))
    facts = {name: document[name] for name in ("version", "uptime_s", "status")}
    return passed(Text("why.agent.status.running", **facts))


def conditions(inputs: CheckInputs) -> Finding:
    """At most a warning: the check that finds the cause fails."""
    document = inputs.status_if_running()
    if document is None:
        return skipped(Text("why.agent.conditions.no_agent"))
    if not document["conditions"]:
        return passed(Text("why.agent.conditions.none"))
    first = document["conditions"][0]
    summary = reduce(_joined, map(reported, document["conditions"]))
    consequences = ", ".join(condition["code"] for condition in document["consequences"])
    both = Text("why.agent.conditions.active", codes=summary, consequences=consequences)
    return warning(both if consequences else summary, condition_fix(first["code"]))


def reported(condition: Mapping[str, object]) -> Text:
    """A condition of the status document: its code, and its detail if it has one."""
    if not condition.get("detail"):
        return Text("detail.condition", code=condition["code"])
    return Text("detail.condition_detail", code=condition["code"], detail=text_of_fields("detail", condition))


def _joined(first: Text, others: Text) -> Text:
    return Text("detail.listed", first=first, others=others)


def condition_fix(code: str) -> Text:
    """The fix of a condition of the running agent, which may be another version."""
    condition = condition_of(code)
    return condition.fix if condition else Text("fix.other_version_running")


def unit(inputs: CheckInputs) -> Finding:
    """State, restarts, watchdog, and the reason when the unit does not serve."""
    if not (inputs.root / "run/systemd/system").is_dir():
        return skipped(Text("why.service.state.no_systemd"))
    output = inputs.program("systemctl", "show", UNIT, f"--property={_PROPERTIES}")
    if output is None:
        return skipped(Text("why.service.state.no_answer"))
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if values.get("LoadState") == "not-found":
        return skipped(Text("why.service.state.not_installed", unit=UNIT))
    journal = _journal(inputs)
    if values.get("ActiveState") != "active":
        return _inactive_unit(inputs, values, _last_error(journal))
    return _active_unit(inputs, values, journal)


def _active_unit(inputs: CheckInputs, values: Mapping[str, str], journal: list[str]) -> Finding:
    read_log = Text("fix.read_service_log", then="facepay status")
    kills, restarts = sum(_KILLED in line for line in journal), int(values.get("NRestarts") or 0)
    if kills:
        return warning(Text("why.service.state.killed", kills=kills), read_log)
    if restarts >= _RESTARTS_MANY:
        why = Text("why.service.state.restarted", restarts=restarts)
        return warning(_with_error(why, _last_error(journal)), read_log)
    if values.get("WatchdogUSec", "0") in ("0", "infinity"):
        return warning(Text("why.service.state.no_watchdog"), Text("fix.install_shipped_unit"))
    if inputs.config_file is not None and _exists(trial_layer(inputs.config_file)):
        return warning(Text("why.service.state.trial"), Text("fix.try_active"))
    if values.get("UnitFileState") == _DISABLED:
        return warning(Text("why.service.state.disabled"), Text("fix.enable_unit"))
    return passed(Text("why.service.state.active", restarts=restarts, watchdog=values["WatchdogUSec"]))


def _inactive_unit(inputs: CheckInputs, values: Mapping[str, str], error: str) -> Finding:
    missing = [path for path in inputs.credentials().values() if not _is_file(path)]
    if missing or values.get("ExecMainStatus") == _CREDENTIALS_STATUS:  # systemd starts no process then
        path = missing[0] if missing else Path("/etc/facepay-agent/credentials")
        fault = "missing" if missing else "unreadable"
        why = Text(f"why.service.state.credential_{fault}", unit=UNIT, path=path)
        return failed(why, Text("fix.credential_file_missing", path=path))
    if values.get("StatusText", "").startswith(_WAITS_FOR_CONFIG):
        return _waiting_unit(inputs, values["StatusText"])
    state = "/".join(values.get(key, "?") for key in ("ActiveState", "SubState", "Result"))
    if values.get("UnitFileState") == _DISABLED:
        why = Text("why.service.state.not_active_disabled", unit=UNIT, state=state)
        return failed(_with_error(why, error), Text("fix.enable_unit"))
    why = Text("why.service.state.not_active", unit=UNIT, state=state)
    return failed(_with_error(why, error), Text("fix.read_service_log", then="systemctl start facepay-agent"))


def _with_error(why: Text, error: str) -> Text:
    return Text("why.service.state.with_error", why=why, error=error) if error else why


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # this user cannot see whether it exists
        return True


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # this user cannot see whether it exists
        return False


def _waiting_unit(inputs: CheckInputs, status: str) -> Finding:
    """The agent waits for a correction of its config; ``config.lint`` names a fault that this user sees."""
    try:
        inputs.config()
        inputs.check_runnable()
    except AgentError:
        return consequence("config.lint")
    file = inputs.config_file or "agent.toml"
    denied = "Permission denied" in status
    fix = Text("fix.config_for_service", path=file) if denied else Text("fix.config_waits")
    return failed(Text("detail.at", place=UNIT, reason=status), fix)


def _journal(inputs: CheckInputs) -> list[str]:
    """The unit's newest lines of this boot, oldest first; empty where this user may not read them."""
    output = inputs.program("journalctl", "-u", UNIT, "-b", "-n", _JOURNAL_LINES, "-o", "cat", "--no-pager")
    return [line.strip() for line in (output or "").splitlines()]


def _last_error(journal: list[str]) -> str:
    """The last error since the unit was started by a person or by the boot; empty when there is none.

    systemd's own restarts are the same start: the error that ended the process is before the restart.
    """
    begin = 0
    for number, line in enumerate(journal):
        lines_before = journal[max(0, number - 4) : number]
        if line.startswith(_STARTING) and not any(_SCHEDULED_RESTART in before for before in lines_before):
            begin = number
    errors = [line for line in journal[begin:] if _is_error(line)]
    return errors[-1][:_ERROR_MAX_CHARS] if errors else ""


def _is_error(line: str) -> bool:
    is_logged = line.startswith(_ERROR_PREFIXES) or any(mark in line for mark in _JSON_ERROR_MARKS)
    return is_logged or _COMMAND_ERROR.match(line) is not None
