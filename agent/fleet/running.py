"""The agent that runs on this terminal, as a rollout sees it: told by signals, watched over its socket.

The process is known by who listens on the socket, as the kernel says, not by what the document says: whoever
runs this command may be root, and the agent is not.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.config import Config
from agent.config.reload import needing_restart
from agent.errors import AgentAway, AgentError, StatusError

_LOOK_EVERY_S = 0.5
_LOOKS_MIN = 4  # in a row: a trouble may take a moment to show


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """Seams to the world; the composition root and the tests fill them."""

    status: Callable[[Config], Mapping[str, Any]]  # raises StatusError, AgentAway when none runs
    pid: Callable[[Config], int]  # of who listens on the socket
    sha256: Callable[[Config], str]
    kill: Callable[[int, int], None] = os.kill
    within_s: float = 60.0


class Watch:
    """Implements the last two methods of ``rollout.Terminal``."""

    def __init__(self, config: Config, running: RunningAgent) -> None:
        self._running = running
        self._before: Mapping[str, Any] | None = None
        self._config = config
        self.note = ""  # for people: what is left to be done

    def look(self) -> None:
        """None when no agent runs, or it hangs: then there is nothing that a config could make worse."""
        try:
            self._before = self._running.status(self._config)
        except StatusError:
            self._before = None

    def settle(self, old: Config, new: Config) -> str:
        """Empty: the agent has ``new`` in force, is connected if it was, and has no error that is new."""
        if self._before is None:
            self.note = "No agent answers here: its next start takes the config."
            return ""
        restart = needing_restart(old, new)
        if restart and not self._before.get("supervised"):
            self.note = f"Restart the agent to use it ({', '.join(restart)}): it was started by hand."
            return ""
        try:
            self._running.kill(self._running.pid(old), signal.SIGTERM if restart else signal.SIGHUP)
        except AgentAway:
            pass  # between two starts: the next one reads the new file
        except (AgentError, OSError) as error:
            return f"the agent could not be told: {error}"
        return self._watch(new)

    def _watch(self, new: Config) -> str:
        until_s = time.monotonic() + self._running.within_s
        good, trouble = 0, "no answer"
        while time.monotonic() < until_s:
            time.sleep(_LOOK_EVERY_S)
            trouble = self._trouble(new)
            good = 0 if trouble else good + 1
            if good >= _LOOKS_MIN:
                return ""
        return f"not well after {self._running.within_s:g} s: {trouble}"

    def _trouble(self, new: Config) -> str:
        try:
            now = self._running.status(new)
            return self._compared(now, new)
        except StatusError as error:
            return f"{error.code}: {error}"
        except (LookupError, TypeError):  # it says less than any version of ours: another program, or a liar
            return "it answers with something else than a status"

    def _compared(self, now: Mapping[str, Any], new: Config) -> str:
        if now["config_refused"]:
            return f"refused: {now['config_refused']}"
        if now["config_sha256"] != self._running.sha256(new):
            return "it still runs with another config"
        before = self._before or {"mqtt": {"connected": False}, "conditions": []}
        if before["mqtt"]["connected"] and not now["mqtt"]["connected"]:
            return "it lost the broker"
        errors = _errors(now) - _errors(before)
        return f"it says {', '.join(sorted(errors))}" if errors else ""


def _errors(status: Mapping[str, Any]) -> set[str]:
    return {each["code"] for each in status["conditions"] if each["severity"] == "error"}
