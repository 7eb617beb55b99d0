"""Plays every scenario of ``rules`` to a till under test, and says which rule of its duty it breaks.

The till connects to the kit's own port, which passes everything on to the broker. It needs two things, in
test mode only: it publishes ``{"request_id": …}`` on ``…/conformance/{till}/paid`` each time it would take
money; and it asks, or cancels, when ``{"do": "ask"}`` or ``{"do": "cancel"}`` arrives on
``…/conformance/{till}/do``, or when a person presses its buttons.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.core import strict_json
from agent.core.model import Request
from agent.errors import TillError
from agent.kits.simulator.proxy import TcpProxy
from agent.kits.simulator.script import ScriptStep, SimulatedFault
from agent.kits.simulator.simulator import Simulator
from agent.kits.simulator.terminal import SimulatorSetup
from agent.kits.till.watcher import Watcher
from agent.kits.till_conformance.rules import (
    NOT_ASKED,
    SCENARIOS,
    Scenario,
    ScenarioRow,
    TillObservation,
    judge,
)
from agent.messages import topics
from agent.mqtt.paho_client import Message

AGAIN_S = 0.5
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the kit waits."""

    request_s: float = 60.0  # for the till to ask; a person may have to press a button
    settle_s: float = 0.5  # for payments and acknowledgements after the last message


class Kit:
    """``start``, let the till connect to ``port`` with ``public_key_pem`` pinned, ``run``, ``stop``."""

    def __init__(
        self, setup: SimulatorSetup, till: str, patience: Patience, tell: Tell = lambda _: None
    ) -> None:
        """``tell`` gets each thing a person could do for the till: "ask" or "cancel"."""
        self._topics, self._till = setup.topics, topics.checked(till)
        self._patience = patience
        self._tell = tell
        self._steps: deque[ScriptStep] = deque()
        self._simulator = Simulator(setup, self._next_step, self._before)
        self._watcher = Watcher(setup.mqtt, setup.topics, self._note)
        self._cutter = TcpProxy(setup.mqtt.host, setup.mqtt.port)
        self._seen = TillObservation()
        self._came = asyncio.Event()  # a request, taken or refused
        self._used: dict[str, bytes] = {}  # request_id or nonce → the request that used it
        self._connections = 0

    @property
    def port(self) -> int:
        return self._cutter.port

    @property
    def public_key_pem(self) -> bytes:
        return self._simulator.body.key.public.pem()

    async def start(self, port: int = 0) -> None:
        """Raises ``TillError``: no broker, or the port is taken."""
        try:
            await self._cutter.start(port)
        except OSError as error:
            raise TillError(f"port {port}: {error.strerror}", code="port_taken") from error
        await self._simulator.start()
        await self._watcher.start()

    async def stop(self) -> None:
        await self._watcher.stop()
        await self._simulator.stop()
        await self._cutter.stop()

    async def run(
        self, scenarios: Sequence[Scenario] = SCENARIOS, progress: Tell = lambda _: None
    ) -> list[ScenarioRow]:
        """One row per scenario, in order. A till that does not ask at the first is not waited for again."""
        rows: list[ScenarioRow] = []
        for number, scenario in enumerate(scenarios, start=1):
            progress(f"{number} of {len(scenarios)}: {scenario.words}")
            gone = bool(rows) and rows[0].detail == NOT_ASKED
            rows.append(judge(scenario, TillObservation()) if gone else await self.play(scenario))
        return rows

    async def play(self, scenario: Scenario) -> ScenarioRow:
        seen = self._seen = TillObservation(earlier=set(self._used))
        self._steps.extend(scenario.steps)
        for step in scenario.steps:
            self._came.clear()
            self._connections = self._cutter.connections
            if not await self._asked():
                break
            if scenario.cancels:
                self._tell("cancel")
                await self._do("cancel")
            await self._simulator.idle()
            if step.fault is SimulatedFault.RETAINED:
                seen.reached = self._cutter.connections > self._connections
        await asyncio.sleep(self._patience.settle_s)
        self._steps.clear()
        return judge(scenario, seen)

    async def _asked(self) -> bool:
        """Have the till ask; False when no request came in time. Said again only while nobody hears it."""
        self._tell("ask")
        heard = False
        try:
            async with asyncio.timeout(self._patience.request_s):
                while not self._came.is_set():
                    heard = heard or await self._do("ask")
                    await _within(self._came, None if heard else AGAIN_S)
        except TimeoutError:
            return False
        return True

    async def _do(self, what: str) -> bool:
        """Whether the till listens to its ``do`` topic, as far as the broker tells."""
        payload = json.dumps({"do": what}).encode()
        topic = f"{self._topics.base}/conformance/{self._till}/do"
        return await self._watcher.link.publish(Message(topic, payload))

    # --- what the simulator asks and says --------------------------------------------------------------

    def _next_step(self, request: Request) -> ScriptStep | None:
        if request.till != self._till or not self._steps:
            return None
        self._seen.requests.append(request.request_id)
        self._came.set()
        return self._steps.popleft()

    def _before(self, fault: SimulatedFault) -> None:
        if fault is SimulatedFault.RETAINED:
            self._cutter.cut()  # the flag is seen by who subscribes later: the till must come back

    # --- what is on the wire --------------------------------------------------------------------------

    def _note(self, message: Message) -> None:
        tree = _inner(message.payload)
        if message.topic == f"{self._topics.base}/conformance/{self._till}/paid":
            self._seen.paid.append(str(tree.get("request_id")))
        place = self._topics.read(message.topic)
        if place is None or place[0] != self._till:
            return
        match place[1]:
            case topics.REQUEST:
                self._note_request(tree, message.payload)
            case topics.CANCEL:
                self._seen.cancels += 1
            case topics.ACK:
                self._seen.unacked.discard(str(tree.get("result_id")))
            case topics.RESULT:
                self._note_result(str(tree.get("result_id")))
            case topics.EVENT if tree.get("event") == "refused":
                self._note_result(str(tree.get("result_id")))  # result_expired is acknowledged, too
                self._note_refusal(tree)

    def _note_request(self, tree: dict[str, Any], payload: bytes) -> None:
        for name in ("request_id", "nonce"):
            if self._used.setdefault(str(tree.get(name)), payload) != payload:
                self._seen.reused = True

    def _note_result(self, result_id: str) -> None:
        if self._simulator.body.settled.get(result_id) in self._seen.requests:
            self._seen.unacked.add(result_id)

    def _note_refusal(self, tree: dict[str, Any]) -> None:
        if tree.get("request_id") not in self._seen.requests and self._steps:
            self._seen.refusals.append((str(tree.get("refusal")), str(tree.get("detail"))))
            self._came.set()


async def _within(event: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _inner(payload: bytes) -> dict[str, Any]:
    """The message's object, out of its envelope if it has one; {} when it is none."""
    try:
        tree = strict_json.loads(payload)
        if isinstance(tree, dict) and "jws" in tree:
            text = next((value for name, value in tree.items() if name != "jws"), "")
            tree = strict_json.loads(str(text).encode())
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}
