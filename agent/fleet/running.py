"""The running agent during a rollout: signals to the process, status over the control socket.

The kernel reports the pid of the listening process. The pid in the status document is not used: this command
may run as root, and the agent does not, so the agent must not choose the process that receives a signal.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.config import Config
from agent.config.reload import needing_restart
from agent.errors import AgentAway, AgentError, StatusError

_CHECK_EVERY_S = 0.5
_CHECKS_MIN = 4  # consecutive: a problem may appear late


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """Functions for the access to the running agent; tests replace them."""

    status: Callable[[Config], Mapping[str, Any]]  # raises StatusError; AgentAway: no agent runs
    pid: Callable[[Config], int]  # of the process that listens on the socket
    sha256: Callable[[Config], str]
    kill: Callable[[int, int], None] = os.kill
    within_s: float = 60.0


class RolloutMonitor:
    """``record_status`` and ``settle`` of ``rollout.RolloutTarget``."""

    def __init__(self, config: Config, running: RunningAgent) -> None:
        self._running = running
        self._before: Mapping[str, Any] | None = None
        self._config = config
        self.note = ""  # the remaining action for the operator

    def record_status(self) -> None:
        """Record the present status; None: no agent runs, or the agent does not answer."""
        try:
            self._before = self._running.status(self._config)
        except StatusError:
            self._before = None

    def settle(self, old: Config, new: Config) -> str:
        """The problem with ``new``; empty: the agent uses ``new``, kept its connection, has no new error."""
        if self._before is None:
            self.note = "No agent answers here: the next start of the agent uses the config."
            return ""
        restart = needing_restart(old, new)
        if restart and not self._before.get("supervised"):
            self.note = f"Restart the agent to apply {', '.join(restart)}: the agent was started manually."
            return ""
        try:
            self._running.kill(self._running.pid(old), signal.SIGTERM if restart else signal.SIGHUP)
        except AgentAway:
            pass  # the agent is restarting: the next start reads the new file
        except (AgentError, OSError) as error:
            return f"no signal could be sent to the agent: {error}"
        return self._watch(new, self._before)

    def _watch(self, new: Config, before: Mapping[str, Any]) -> str:
        until_s = time.monotonic() + self._running.within_s
        healthy_checks, problem = 0, "no answer"
        while time.monotonic() < until_s:
            time.sleep(_CHECK_EVERY_S)
            problem = self._problem(new, before)
            healthy_checks = 0 if problem else healthy_checks + 1
            if healthy_checks >= _CHECKS_MIN:
                return ""
        return f"not healthy after {self._running.within_s:g} s: {problem}"

    def _problem(self, new: Config, before: Mapping[str, Any]) -> str:
        try:
            current = self._running.status(new)
            if current["config_refused"]:
                return f"refused: {current['config_refused']}"
            if current["config_sha256"] != self._running.sha256(new):
                return "the agent still runs with another config"
            if before["mqtt"]["connected"] and not current["mqtt"]["connected"]:
                return "the agent lost the broker"
            if errors := _errors(current) - _errors(before):
                return f"new errors: {', '.join(sorted(errors))}"
            if _has_api(before) and not _has_api(current):  # its first check is some seconds after the start
                return "the agent has no answer of the compare API"
            return ""
        except StatusError as error:
            return f"{error.code}: {error}"
        except (LookupError, TypeError):  # fewer fields than any version of the agent: another program
            return "the answer is not a status document"


def _has_api(status: Mapping[str, Any]) -> bool:
    """Whether the compare API has answered this agent. An older agent does not report it."""
    return status.get("api", {}).get("answered_s") is not None


def _errors(status: Mapping[str, Any]) -> set[str]:
    return {each["code"] for each in status["conditions"] if each["severity"] == "error"}
