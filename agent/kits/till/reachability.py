"""The cause of a missing message: no broker, a broker that refuses this client, or no terminal."""

from __future__ import annotations

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.mqtt.reason_codes import REFUSING, BrokerProblem
from agent.texts import Text


class Reachability:
    """The problems of one connection so far. ``up`` and ``note_problem`` are callbacks of ``Wiring``."""

    def __init__(self, config: MqttConfig) -> None:
        self._where = f"{config.host}:{config.port}"
        self._up = False
        self._problems = dict[BrokerProblem, str]()

    def up(self) -> None:
        self._up = True

    def note_problem(self, problem: BrokerProblem, active: bool, detail: str = "") -> None:
        if active:
            self._problems[problem] = detail
        else:
            self._problems.pop(problem, None)

    def error(self, terminal: str) -> TillError:
        """The error after a time-out. ``terminal``: the message when the broker itself has no problem."""
        refusing = next((each for each in self._problems if each in REFUSING), None)
        if refusing is not None and refusing is not BrokerProblem.REFUSED:
            why = f"the broker at {self._where}: {self._problems[refusing]}"
            return TillError(why, code=refusing, fix=CONDITIONS[refusing].fix)
        if refusing is not None:
            why = f"the broker at {self._where} refuses this client: {self._problems[refusing]}"
            return TillError(why, code=BrokerProblem.REFUSED, fix=Text("fix.client_identity_refused"))
        if not self._up or BrokerProblem.UNREACHABLE in self._problems:
            why = f"no MQTT broker answers at {self._where}"
            return TillError(why, code=BrokerProblem.UNREACHABLE, fix=Text("fix.broker_unreachable"))
        if BrokerProblem.SUBSCRIPTION_REFUSED in self._problems:
            why = f"the broker at {self._where} refuses the subscriptions (ACL)"
            fix = Text("fix.client_subscription_refused")
            return TillError(why, code=BrokerProblem.SUBSCRIPTION_REFUSED, fix=fix)
        return TillError(terminal, code="terminal_offline", fix=Text("fix.no_terminal_at_broker"))
