"""Why nothing was heard: no broker, one that refuses this client, or no terminal behind it."""

from __future__ import annotations

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.mqtt.reason_codes import REFUSING, BrokerProblem
from agent.texts import Text


class Reachability:
    """What one link met so far. ``up`` and ``note`` are for its ``Wiring``."""

    def __init__(self, config: MqttConfig) -> None:
        self._where = f"{config.host}:{config.port}"
        self._up = False
        self._troubles = dict[BrokerProblem, str]()

    def up(self) -> None:
        self._up = True

    def note(self, trouble: BrokerProblem, there: bool, detail: str = "") -> None:
        if there:
            self._troubles[trouble] = detail
        else:
            self._troubles.pop(trouble, None)

    def silence(self, terminal: str) -> TillError:
        """The error for whoever waited in vain. ``terminal``: what to say when all is well as far as here."""
        refusing = next((each for each in self._troubles if each in REFUSING), None)
        if refusing is not None and refusing is not BrokerProblem.REFUSED:
            condition = CONDITIONS[refusing]
            return TillError(
                f"the broker at {self._where}: {self._troubles[refusing]}",
                code=refusing,
                fix=condition.fix,
            )
        if refusing is not None:
            return TillError(
                f"the broker at {self._where} refuses this client: {self._troubles[refusing]}",
                code=BrokerProblem.REFUSED,
                fix=Text("fix.client_identity_refused"),
            )
        if not self._up or BrokerProblem.UNREACHABLE in self._troubles:
            return TillError(
                f"no MQTT broker answers at {self._where}",
                code=BrokerProblem.UNREACHABLE,
                fix=Text("fix.broker_unreachable"),
            )
        if BrokerProblem.DEAF in self._troubles:
            return TillError(
                f"the broker at {self._where} refuses the subscriptions (ACL)",
                code=BrokerProblem.DEAF,
                fix=Text("fix.client_subscription_refused"),
            )
        return TillError(
            terminal,
            code="terminal_offline",
            fix=Text("fix.no_terminal_at_broker"),
        )
