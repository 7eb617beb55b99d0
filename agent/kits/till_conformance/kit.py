"""The conformance kit: plays the scenarios of ``scenarios`` to a till and reports the broken rules.

The till under test connects to the kit's port; the kit forwards the connection to the broker. The till needs
a test mode with two functions and a restart. (1) For each payment the till publishes ``{"request_id": …}`` on
``…/conformance/{till}/paid``. (2) The till sends a request or a cancel when ``{"do": "ask"}`` or
``{"do": "cancel"}`` arrives on ``…/conformance/{till}/do``, or when a person presses its buttons. At
``{"do": "restart"}`` the process of the till ends and starts again.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from agent.core.model import Request
from agent.core.strict_json import json_object
from agent.errors import TillError, failure_at
from agent.kits.simulator.proxy import TcpProxy
from agent.kits.simulator.script import ScriptStep, SimulatedFault
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.terminal import SimulatorSetup
from agent.kits.till.watcher import Watcher
from agent.kits.till_conformance import rules
from agent.kits.till_conformance.preparation import PreparationPlayer, WaitTimes
from agent.kits.till_conformance.scenarios import (
    NO_REQUEST,
    RESTART,
    SCENARIOS,
    Rule,
    Scenario,
)
from agent.messages import topics
from agent.mqtt.paho_client import Message
from agent.texts import Text

REPEAT_S = 0.5
RESTARTED_S = 3.0  # a result that was sent before the till subscribed is sent again after 1 and 2 s
Instruct = Callable[[str], None]


class Kit:
    """``start``, let the till connect to ``port`` with ``public_key_pem`` pinned, ``run``, ``stop``."""

    def __init__(
        self, setup: SimulatorSetup, till: str, wait_times: WaitTimes, instruct: Instruct = lambda _: None
    ) -> None:
        """``instruct`` receives each action for a person at the till: "ask", "cancel" or "restart"."""
        self._topics, self._till = setup.topics, topics.checked_id(till)
        self._wait_times, self._instruct, self._steps = wait_times, instruct, deque[ScriptStep]()
        self._simulator = Simulator(setup, self._next_step, self._before_answer)
        observer = setup.observer or setup.mqtt
        problem = self._simulator.terminal.reachability.problem
        self._watcher = Watcher(observer, setup.topics, self._record, problem)
        self._proxy = TcpProxy(observer.host, observer.port)
        self._preparation = PreparationPlayer(self._simulator.terminal, self._proxy, self._till)
        self._observation, self._connections = rules.TillObservation(), 0
        self._request_received = asyncio.Event()  # accepted or refused
        self._used: dict[str, bytes] = {}  # request_id or nonce → the request that used it
        self._pays, self._restarts = True, False  # no payment was missed; the answer waits for the till

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def public_key_pem(self) -> bytes:
        return self._simulator.terminal.key.public.pem()

    async def start(self, port: int = 0) -> None:
        """Raises ``TillError``: a problem of the broker, or the port is in use."""
        try:
            await self._proxy.start(port)
        except OSError as error:
            raise TillError(failure_at(Text("detail.port", port=port), error), code="port_taken") from error
        await self._simulator.start()
        await self._watcher.start()

    async def stop(self) -> None:
        await self._watcher.stop()
        await self._simulator.stop()
        await self._proxy.stop()

    async def run(
        self, scenarios: Sequence[Scenario] = SCENARIOS, progress: Instruct = lambda _: None
    ) -> list[rules.ScenarioRow]:
        """One row per scenario, in order. No request in the first scenario: the others are not played."""
        rows: list[rules.ScenarioRow] = []
        for number, scenario in enumerate(scenarios, start=1):
            progress(f"{number} of {len(scenarios)}: {scenario.words}")
            if rows and rows[0].detail == NO_REQUEST:
                rows.append(rules.judge(scenario, rules.TillObservation()))
            else:
                rows.append(await self.play(scenario))
        return rows

    async def play(self, scenario: Scenario) -> rules.ScenarioRow:
        """Play one scenario to the connected till."""
        observation = self._observation = rules.TillObservation(earlier=set(self._used), pays=self._pays)
        observation.sent_get_state = await self._preparation.play(scenario.preparation, self._wait_times)
        self._steps.extend(scenario.steps)
        self._restarts = scenario.command == RESTART
        for step in scenario.steps:
            self._request_received.clear()
            self._connections = self._proxy.connections
            if not await self._await_request():
                break
            if scenario.command:
                self._connections = self._proxy.connections
                self._instruct(scenario.command)
                await self._command(scenario.command)
            await self._simulator.wait_until_idle()
            if step.fault is SimulatedFault.RETAINED or self._restarts:
                observation.reached = self._proxy.connections > self._connections
        await asyncio.sleep(self._wait_times.settle_s + self._restarts * RESTARTED_S)
        self._steps.clear()
        await self._preparation.undo(scenario.preparation)
        row = rules.judge(scenario, observation)
        self._pays = self._pays and Rule.PAYS not in row.broken
        return row

    async def _await_request(self) -> bool:
        """Command a request; False: none arrived in time. Repeated only while no subscriber received it."""
        self._instruct("ask")
        delivered = False
        try:
            async with asyncio.timeout(self._wait_times.request_s):
                while not self._request_received.is_set():
                    delivered = delivered or await self._command("ask")
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(None if delivered else REPEAT_S):
                            await self._request_received.wait()
        except TimeoutError:
            return False
        return True

    async def _command(self, action: str) -> bool:
        """Publish on the till's ``do`` topic; whether the broker reports a subscriber."""
        topic = f"{self._topics.base}/conformance/{self._till}/do"
        return await self._watcher.connection.publish(Message(topic, json.dumps({"do": action}).encode()))

    def _next_step(self, request: Request) -> ScriptStep | None:
        if request.till != self._till or not self._steps:
            return None
        self._observation.requests.append(request.request_id)
        self._request_received.set()
        return self._steps.popleft()

    async def _before_answer(self, request: Request, fault: SimulatedFault) -> None:
        if fault is SimulatedFault.RETAINED:
            self._proxy.cut()  # only a new subscription receives the retain flag: the till must reconnect
        if self._restarts:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(request.ttl_ms / 1e3):
                    await self._proxy.wait_for_connection(self._connections)

    def _record(self, message: Message) -> None:
        tree = _inner(message.payload)
        if message.topic == f"{self._topics.base}/conformance/{self._till}/paid":
            self._observation.paid.append(str(tree.get("request_id")))
        place = self._topics.read(message.topic)
        if place is None or place[0] != self._till:
            return
        match place[1]:
            case topics.REQUEST:
                for name in ("request_id", "nonce"):
                    if self._used.setdefault(str(tree.get(name)), message.payload) != message.payload:
                        self._observation.reused = True
            case topics.CANCEL:
                self._observation.cancels += 1
            case topics.ACK:
                self._observation.note_ack(str(tree.get("result_id")))
            case topics.STATE_COPY:
                self._preparation.state_sent.set()
            case topics.RESULT:
                trusted = self._simulator.terminal.has_signed(message.payload)
                self._record_result(str(tree.get("result_id")), trusted=trusted)
            case topics.EVENT if tree.get("event") == "refused":
                self._record_result(str(tree.get("result_id")))  # result_expired is acknowledged, too
                self._record_refusal(tree)
            case topics.EVENT if "result_id" in tree:
                self._record_result(str(tree["result_id"]), trusted=False)

    def _record_result(self, result_id: str, *, trusted: bool = True) -> None:
        request_id = self._simulator.terminal.settled.get(result_id)
        self._observation.note_result(result_id, request_id, trusted=trusted)

    def _record_refusal(self, tree: dict[str, Any]) -> None:
        if tree.get("request_id") not in self._observation.requests and self._steps:
            self._observation.refusals.append((str(tree.get("refusal")), str(tree.get("detail"))))
            self._request_received.set()


def _inner(payload: bytes) -> dict[str, Any]:
    """The JSON object of a message, without its envelope; {}: not a JSON object."""
    tree = json_object(payload) or {}
    if "jws" in tree:
        text = next((value for name, value in tree.items() if name != "jws"), "")
        tree = json_object(str(text)) or {}
    return tree
