"""The running agent during a rollout: a signal to its process, its status over the control socket.

The kernel reports the pid of the listening process. The pid in the status document is not used: this command
may run as root, so the agent, which is not root, must not choose the process that receives a signal.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.config import Config
from agent.config.reload import keys_that_need_restart
from agent.errors import AgentError, AgentNotRunning, StatusError, reason_of
from agent.fleet.time_limits import CHECK_EVERY_S, CHECKS_MIN
from agent.texts import Text


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """The functions that reach the running agent. ``within_s``: maximum time until the agent is healthy."""

    status: Callable[[Config], Mapping[str, Any]]  # raises StatusError; AgentNotRunning: no agent runs
    pid: Callable[[Config], int]  # of the process that listens on the socket
    sha256: Callable[[Config], str]
    kill: Callable[[int, int], None] = os.kill
    within_s: float = 60.0
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class RolloutMonitor:
    """``record_status`` and ``activate`` of ``rollout.RolloutTarget``."""

    def __init__(self, config: Config, running: RunningAgent) -> None:
        self._running = running
        self._before: Mapping[str, Any] | None = None
        self._config = config
        self.note: Text | None = None  # the remaining action for the operator

    def record_status(self) -> None:
        """Record the present status; without an answer of the agent, record that no agent runs."""
        try:
            self._before = self._running.status(self._config)
        except StatusError:
            self._before = None

    def activate(self, old: Config, new: Config) -> Text | None:
        """The problem with ``new``; None: the agent uses ``new``, kept its connection, has no new error."""
        if self._before is None:
            self.note = Text("cli.config_at_next_start")
            return None
        restart = keys_that_need_restart(old, new)
        if restart and not self._before.get("supervised"):
            self.note = Text("cli.config_at_restart", keys=", ".join(restart))
            return None
        try:
            self._running.kill(self._running.pid(old), signal.SIGTERM if restart else signal.SIGHUP)
        except AgentNotRunning:
            pass  # the agent is restarting: the next start reads the new file
        except (AgentError, OSError) as error:
            return Text("detail.no_signal_sent", reason=reason_of(error))
        return self._watch(new, self._before)

    def _watch(self, new: Config, before: Mapping[str, Any]) -> Text | None:
        until_s = self._running.now_s() + self._running.within_s
        healthy_checks, problem = 0, Text("detail.no_answer")
        while self._running.now_s() < until_s:
            self._running.sleep(CHECK_EVERY_S)
            new_problem = self._problem(new, before)
            problem = new_problem or problem
            healthy_checks = 0 if new_problem else healthy_checks + 1
            if healthy_checks >= CHECKS_MIN:
                return None
        return Text("detail.not_healthy_within", limit_s=self._running.within_s, reason=problem)

    def _problem(self, new: Config, before: Mapping[str, Any]) -> Text | None:
        try:
            current = self._running.status(new)
            if current["config_refused"]:
                return Text("detail.agent_refuses_config", reason=current["config_refused"])
            if current["config_sha256"] != self._running.sha256(new):
                return Text("detail.agent_other_config")
            if before["mqtt"]["connected"] and not current["mqtt"]["connected"]:
                return Text("detail.agent_lost_broker")
            if errors := _errors(current) - _errors(before):
                return Text("detail.new_faults", codes=", ".join(sorted(errors)))
            if _has_api(before) and not _has_api(current):  # its first check is some seconds after the start
                return Text("detail.agent_no_api_answer")
            return None
        except StatusError as error:
            return error.sentence
        except (LookupError, TypeError):  # fewer fields than any version of the agent: another program
            return Text("detail.no_status_document")


def _has_api(status: Mapping[str, Any]) -> bool:
    """Whether the compare API has answered this agent. An older agent does not report it."""
    return status.get("api", {}).get("answered_s") is not None


def _errors(status: Mapping[str, Any]) -> set[str]:
    return {condition["code"] for condition in status["conditions"] if condition["severity"] == "error"}
