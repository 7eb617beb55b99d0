"""A subscriber to every message of one terminal and its tills, and the cause of a missing message."""

import asyncio
import secrets
from collections.abc import Callable

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.conditions import CONDITIONS
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reason_codes import REFUSING, BrokerProblem
from agent.texts import Text

STATE_TIMEOUT_S = 5.0


class Reachability:
    """The problems of one connection so far. ``up`` and ``note_problem``: for ``ClientOptions``."""

    def __init__(self, config: MqttConfig) -> None:
        self._where = f"{config.host}:{config.port}"
        self._up = False
        self._problems = dict[BrokerProblem, str | Text]()

    def up(self) -> None:
        self._up = True

    def note_problem(self, problem: BrokerProblem, active: bool, detail: str | Text = "") -> None:
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


class Watcher:
    """``start`` returns after the terminal's first state; ``on_message`` receives each message in order."""

    def __init__(self, config: MqttConfig, topics: Topics, on_message: Callable[[Message], None]) -> None:
        self._topics = topics
        self._on_message = on_message
        self._state_received = asyncio.Event()
        client_id = f"facepay-watch-{secrets.token_hex(4)}"
        filters = [(f"{topics.base}/{rest}", 1) for rest in ("state", "verify/+/+", "conformance/+/paid")]
        reachability = self._reachability = Reachability(config)
        wiring = ClientOptions(
            client_id, filters, self._received, reachability.up, on_problem=reachability.note_problem
        )
        self.link = Connection(config, wiring)

    async def start(self) -> None:
        """Raises ``TillError`` without a state in time; the error names the broker's problem, if any."""
        await self.link.start()
        try:
            async with asyncio.timeout(STATE_TIMEOUT_S):
                await self._state_received.wait()
        except TimeoutError:
            await self.link.stop()
            raise self._reachability.error(f"no state of {self._topics.base} on this broker") from None

    async def stop(self) -> None:
        await self.link.stop()

    def _received(self, message: Message) -> None:
        if message.topic == self._topics.state:
            self._state_received.set()
        self._on_message(message)
