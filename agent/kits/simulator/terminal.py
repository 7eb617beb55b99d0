"""The simulated terminal: the agent's MQTT adapter, outbox and keys, without camera and compare API.

The keys are created in a separate directory and the broker is on loopback only. So no message of a simulated
terminal is valid for a real terminal. The connection runs through a ``TcpProxy``: a simulated crash aborts
the TCP connection, as a real crash does.
"""

import asyncio
import secrets
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import __version__
from agent.config import Config, MqttConfig, StorageConfig
from agent.config.profile import check_profile
from agent.core.model import Request, Result
from agent.core.ports import Clock, RefusedEvent, StoredResult
from agent.core.reasons import Refusal
from agent.core.strict_json import json_object
from agent.kits.simulator.proxy import TcpProxy
from agent.kits.simulator.script import SimulatedFault
from agent.messages.decode import DecodeRules
from agent.messages.encode import TerminalIdentity, result, rfc3339
from agent.messages.rotation import record_start, rotate, statement_for
from agent.messages.signing import Signer
from agent.messages.topics import RESULT, Topics
from agent.mqtt.paho_client import Message
from agent.mqtt.reachability import Reachability
from agent.outbox.outbox import Outbox
from agent.tasks import end_tasks
from agent.till.adapter import MqttTill
from agent.till.state_publisher import StateFacts

BUDGET_MAX_MS = 60_000
REQUEST_MAX_BYTES = 98_304
MARGIN_MS = 250
_LIMITS = {
    "request_max_bytes": REQUEST_MAX_BYTES,
    "budget_max_ms": BUDGET_MAX_MS,
    "inline_reference": True,
}
CONNECT_TIMEOUT_S = 20.0
CRASH_DELAY_S = 0.1  # enough for a result to reach the broker before the crash


@dataclass(frozen=True, slots=True)
class SimulatorSetup:
    """Broker, topics, directory and clock. ``directory``: empty; the caller removes the directory.

    ``observer``: the connection of an observing client, and the listener of tills; None: as ``mqtt``.
    """

    mqtt: MqttConfig
    topics: Topics
    directory: Path
    clock: Clock
    observer: MqttConfig | None = None


class SimulatedTerminal:
    """``start``, any number of ``crash``, ``stop``. Each start after a crash has a new epoch.

    Attributes:
        key: the key that a till pins.
        previous: the key before a rotation; without a rotation ``unknown_key``.
        unknown_key: a key that no till pins, for forgeries.
        settled: result_id → request_id of the true results so far.
        reachability: the broker's problems with this terminal.
        held: by till, the results to send out of order.
        before_answer: awaited with the request and the fault just before the terminal sends the answer.
    """

    def __init__(
        self,
        setup: SimulatorSetup,
        serve: Callable[[MqttTill], Coroutine[Any, Any, None]],
        before_answer: Callable[[Request, SimulatedFault], Awaitable[None]],
    ) -> None:
        """``serve`` handles inbound messages until cancelled. Raises ``ConfigError``: not on loopback."""
        check_profile(Config(profile="demo", mqtt=setup.mqtt))  # loopback only
        self._setup, self._serve = setup, serve
        self.clock = setup.clock
        self._keys = setup.directory / "own"
        self.key = Signer.load_or_create(self._keys)
        self.previous = self.unknown_key = Signer.load_or_create(setup.directory / "stranger")
        self.settled: dict[str, str] = {}
        self.held: defaultdict[str, list[StoredResult]] = defaultdict(list)
        self.before_answer = before_answer
        self.identity = self._new_identity(str(uuid.uuid4()))
        self.outbox = Outbox(
            StorageConfig(directory=setup.directory),
            setup.clock,
            self.identity.boot_id,
            lambda value, issued: result(value, self.identity, issued, self.key),
        )
        self._proxy, self.reachability = TcpProxy(setup.mqtt.host, setup.mqtt.port), Reachability(setup.mqtt)
        self._till: MqttTill | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def till(self) -> MqttTill:
        assert self._till is not None, "not started"
        return self._till

    async def start(self) -> None:
        await self._proxy.start()
        await self._start_process()

    async def stop(self) -> None:
        """Publish ``offline``. Safe to call twice."""
        await self._stop_process()
        await self._proxy.stop()
        await self.outbox.close()

    async def crash(self, stored: StoredResult) -> None:
        """Publish a result and crash before its acknowledgement; after the restart the outbox repeats it."""
        self._proxy.drop_from_broker = True
        sending = asyncio.create_task(self.till.deliver(stored))
        await asyncio.sleep(CRASH_DELAY_S)
        self._proxy.refuse_connections = True
        self._proxy.cut()
        await asyncio.gather(sending, return_exceptions=True)
        await self.restart()

    async def restart(self, *, retained: bool = True) -> None:
        """Restart without DISCONNECT, with a new epoch; the outbox sends the open results."""
        self._proxy.refuse_connections = True
        self._proxy.cut()
        await self._stop_process()
        self._proxy.refuse_connections = self._proxy.drop_from_broker = False
        self.identity = self._new_identity(self.identity.boot_id)
        await self._start_process(retained=retained)

    async def wait_for_connection(self) -> None:
        """Raises ``TimeoutError``."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while not self.till.connection.is_connected:  # noqa: ASYNC110 - the connection has no event for it
                await asyncio.sleep(0.02)

    def rotate(self) -> None:
        """Create a new key, used after the next restart; the state then has the old key's statement."""
        place, issued_at, self.previous = self._setup.topics, rfc3339(self.clock.unix_ms()), self.key
        self.key = rotate(self._keys, site=place.site, terminal=place.terminal, issued_at=issued_at)
        record_start(self._keys, self.key)

    def has_signed(self, payload: bytes) -> bool:
        """Whether the signature of a result is that of the key, or of the key before the rotation."""
        tree = json_object(payload) or {}
        text, detached = str(tree.get("result")), str(tree.get("jws"))
        keys = {self.key, self.previous} - {self.unknown_key}
        return any(key.public.verify(text, detached, "result") for key in keys)

    async def settle(self, outcome: Result) -> StoredResult:
        """Store the true result of a claimed request."""
        stored = await self.outbox.settle(outcome)
        self.settled[stored.result_id] = stored.request_id
        return stored

    async def send(self, till: str, payload: bytes, *, retained: bool = False) -> None:
        """Publish on a till's result topic once, without checks. Retained: QoS 0, so never queued."""
        message = Message(self._setup.topics.verify(till, RESULT), payload, retained)
        await self.till.connection.publish(message, qos=0 if retained else 1)

    async def refuse(
        self, request: Request, refusal: Refusal, detail: str, result_id: str | None = None
    ) -> None:
        await self.till.publish(RefusedEvent(request.till, request.request_id, refusal, detail, result_id))

    def _new_identity(self, boot_id: str) -> TerminalIdentity:
        topics = self._setup.topics
        return TerminalIdentity(topics.site, topics.terminal, boot_id, epoch=secrets.token_hex(16))

    async def _start_process(self, *, retained: bool = True) -> None:
        setup = self._setup
        mqtt = setup.mqtt.model_copy(update={"host": "127.0.0.1", "port": self._proxy.port})
        facts = StateFacts(lambda: "online", self.state_fields, self.key, self.reachability.note_problem)
        rules = DecodeRules(
            REQUEST_MAX_BYTES,
            BUDGET_MAX_MS,
            site=self.identity.site,
            terminal=self.identity.terminal,
            terminal_required=True,
            wall_ms=self.clock.unix_ms,  # the till under test runs on this machine and has the same clock
        )
        parts = (mqtt, self.identity, rules, self.outbox, setup.clock)
        self._till = MqttTill(*parts, margin_ms=MARGIN_MS, state_facts=facts)
        self._till.state.retained = retained
        await self._till.start()
        self._serving = asyncio.create_task(self._serve(self._till))

    async def _stop_process(self) -> None:
        await end_tasks(self._serving)
        if self._till is not None:
            await self._till.stop()

    def state_fields(self) -> dict[str, Any]:
        """The content of ``state`` beyond the identity."""
        key = {"kid": self.key.key_id, "sha256": self.key.fingerprint}
        rotation = statement_for(self._keys, self.key)
        return {
            "version": __version__,
            "profile": "demo",
            "accepted_risks": [],
            "limits": _LIMITS,
            "key": key | ({"rotation": rotation} if rotation else {}),
            "conditions": [],
        }
