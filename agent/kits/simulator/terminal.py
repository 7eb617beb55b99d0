"""The body of a simulated terminal: the agent's own MQTT side, outbox and keys. What it says is scripted.

Its keys are made in a directory of its own and it talks to loopback only: nothing it says can pass as a real
terminal's. Its connection runs through a ``TcpProxy``, so that a crash looks to the broker like one.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import __version__
from agent.config import Config, MqttConfig, StorageConfig
from agent.config.profile import check_profile
from agent.core.model import Request, Result
from agent.core.ports import Clock, RefusedEvent, StoredResult
from agent.core.reasons import Refusal
from agent.kits.simulator.proxy import TcpProxy
from agent.kits.simulator.script import SimulatedFault
from agent.messages.decode import DecodeRules
from agent.messages.encode import TerminalIdentity, result, rfc3339
from agent.messages.rotation import rotate, statement_for
from agent.messages.signing import Signer
from agent.messages.topics import RESULT, Topics
from agent.mqtt.paho_client import Message
from agent.outbox.outbox import Outbox
from agent.till.adapter import MqttTill, StateFacts

BUDGET_MAX_MS = 60_000
REQUEST_MAX_BYTES = 98_304
MARGIN_MS = 250
GOODBYE_S = 0.1  # long enough for a result to reach the broker before the crash


@dataclass(frozen=True, slots=True)
class SimulatorSetup:
    """Where the simulated terminal lives. ``directory`` is empty, and the caller's to remove."""

    mqtt: MqttConfig
    topics: Topics
    directory: Path
    clock: Clock


class SimulatedTerminal:
    """``start``, ``crash`` as often as wanted, ``stop``.

    Attributes:
        key: what a till pins. ``previous``: the key before a rotation, else a key that no till has seen.
        stranger: a key that no till has seen, for forgeries.
        settled: result_id → request_id of the true results so far.
        held: by till, results that are to be sent out of order.
        before: called with a fault just before it is put on the wire.
    """

    def __init__(
        self,
        setup: SimulatorSetup,
        serve: Callable[[MqttTill], Coroutine[Any, Any, None]],
        before: Callable[[SimulatedFault], object] = lambda _: None,
    ) -> None:
        """``serve`` answers a life's inbound messages, until it is cancelled. Raises ``ConfigError``."""
        check_profile(Config(profile="demo", mqtt=setup.mqtt))  # loopback only
        self._setup = setup
        self._serve = serve
        self.clock = setup.clock
        self._keys = setup.directory / "own"
        self.key = Signer.load_or_create(self._keys)
        self.previous = self.stranger = Signer.load_or_create(setup.directory / "stranger")
        self.settled: dict[str, str] = {}
        self.held: defaultdict[str, list[StoredResult]] = defaultdict(list)
        self.before = before
        self.who = self._born(str(uuid.uuid4()))
        self.outbox = Outbox(
            StorageConfig(directory=setup.directory),
            setup.clock,
            self.who.boot_id,
            lambda value, issued: result(value, self.who, issued, self.key),
        )
        self._cutter = TcpProxy(setup.mqtt.host, setup.mqtt.port)
        self._till: MqttTill | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def till(self) -> MqttTill:
        """The MQTT side of the present life."""
        assert self._till is not None, "not started"
        return self._till

    async def start(self) -> None:
        await self._cutter.start()
        await self._live()

    async def stop(self) -> None:
        """Says ``offline``. Safe to call twice."""
        await self._die()
        await self._cutter.stop()
        await self.outbox.close()

    async def crash(self, stored: StoredResult) -> None:
        """Publish, and die before any answer to it is heard; live again, and the outbox sends it again."""
        self._cutter.deaf = True
        sending = asyncio.create_task(self.till.deliver(stored))
        await asyncio.sleep(GOODBYE_S)
        self._cutter.shut = True
        self._cutter.cut()
        await asyncio.gather(sending, return_exceptions=True)
        await self.restart()

    async def restart(self) -> None:
        """Die without a goodbye and live again, with a new epoch; the outbox sends what is open."""
        self._cutter.shut = True
        self._cutter.cut()
        await self._die()
        self._cutter.shut = self._cutter.deaf = False
        self.who = self._born(self.who.boot_id)
        await self._live()

    def rotate(self) -> None:
        """A new key, in use from the next life on; its state then carries the old key's statement."""
        place, issued_at = self._setup.topics, rfc3339(self.clock.unix_ms())
        self.previous = self.key
        self.key = rotate(self._keys, site=place.site, terminal=place.terminal, issued_at=issued_at)

    # --- what acts are made of ------------------------------------------------------------------------

    async def settle(self, outcome: Result) -> StoredResult:
        """Store the one true result of a claimed request."""
        stored = await self.outbox.settle(outcome)
        self.settled[stored.result_id] = stored.request_id
        return stored

    async def send(self, till: str, payload: bytes, *, retained: bool = False) -> None:
        """Publish on a till's result topic once, past every rule. Retained goes with QoS 0: never queued."""
        message = Message(self._setup.topics.verify(till, RESULT), payload, retained)
        await self.till.link.publish(message, qos=0 if retained else 1)

    async def forget(self, stored: StoredResult) -> None:
        """Never send it again, acknowledged or not."""
        await self.outbox.close_result(stored.till, stored.result_id)

    async def refuse(
        self, request: Request, refusal: Refusal, detail: str, result_id: str | None = None
    ) -> None:
        news = RefusedEvent(request.till, request.request_id, refusal, detail, result_id)
        await self.till.tell(news)

    # --- lives: each has its own epoch ----------------------------------------------------------------

    def _born(self, boot_id: str) -> TerminalIdentity:
        topics = self._setup.topics
        return TerminalIdentity(topics.site, topics.terminal, boot_id, epoch=secrets.token_hex(16))

    async def _live(self) -> None:
        setup = self._setup
        mqtt = setup.mqtt.model_copy(update={"host": "127.0.0.1", "port": self._cutter.port})
        facts = StateFacts(lambda: "online", self._facts)
        rules = DecodeRules(
            REQUEST_MAX_BYTES,
            BUDGET_MAX_MS,
            site=self.who.site,
            terminal=self.who.terminal,
            place_required=True,
            wall_ms=self.clock.unix_ms,  # the till under test is on this machine, so on this clock
        )
        self._till = MqttTill(
            mqtt, self.who, rules, self.outbox, setup.clock, margin_ms=MARGIN_MS, state_facts=facts
        )
        await self._till.start()
        self._serving = asyncio.create_task(self._serve(self._till))

    async def _die(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        if self._till is not None:
            await self._till.stop()

    def _facts(self) -> dict[str, Any]:
        key = {"kid": self.key.key_id, "sha256": self.key.fingerprint}
        rotation = statement_for(self._keys, self.key)
        limits = {"request_max_bytes": REQUEST_MAX_BYTES, "budget_max_ms": BUDGET_MAX_MS}
        return {
            "version": __version__,
            "profile": "demo",
            "accepted_risks": [],
            "limits": limits | {"inline_reference": True},
            "key": key | ({"rotation": rotation} if rotation else {}),
            "conditions": [],
        }
