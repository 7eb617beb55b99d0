"""Helpers of these tests: the agent as a process, and a till for it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import MqttConfig
from agent.control.server import path_for, request_status
from agent.kits.till.client import TillClient
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from agent.resources import data
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET
from tests.brokers import Mosquitto
from tests.commands import Command

TOPICS = Topics("shop-1", "terminal-1")
BUSY_S = 120  # an upper bound for a machine with other work; each wait ends with its event
# A verification and an API call on such a machine. A config with its own [verification] has none of it.
LONG_LIMITS = "[verification]\nask_timeout_ms = 20000\nbudget_ms = 40000\n"
LONG_TTL_MS = 40_000
# facepay without its own checks of the API, of which the first comes three seconds after the start
NO_OWN_CHECKS = """
import agent.root.self_checks
from agent.cli import main
agent.root.self_checks.FIRST_AFTER_S = 86_400.0
main()
"""
# facepay that takes no stop of a busy machine for a pause, after which it refuses requests as stale for 3 s
NO_PAUSES = """
import agent.core.pauses
from agent.cli import main
agent.core.pauses.PAUSE_MIN_MS = 86_400_000
main()
"""
# facepay that waits longer for the status of an agent
PATIENT = """
import agent.control.server
from agent.cli import main
agent.control.server.request_status.__kwdefaults__["timeout_s"] = 60.0
main()
"""
ENROLLED = data("photos/enrolled/obama_portrait.jpg").read_bytes()


@dataclass
class Place:
    """The files of a terminal, its broker and its compare service."""

    folder: Path
    broker: Mosquitto
    service: CompareService

    def config(self, scene: str, extra: str = "", *, stall_ms: int = 2_000) -> Path:
        """Write the config. On a busy machine, a frame can be later than ``stall_ms``: a visible fault."""
        secret = self.folder / "secret"
        secret.write_bytes(EXAMPLE_SECRET)
        secret.chmod(0o600)
        path = self.folder / "agent.toml"
        long_limits = "" if "[verification]" in extra else LONG_LIMITS
        path.write_text(
            f"""
profile = "demo"
site = "shop-1"
terminal = "terminal-1"
inline_reference = true
[camera]
source = "{scene}"
stall_ms = {stall_ms}
[compare]
url = "{self.service.url}"
appid = "1250000001"
bucket = "terminals"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"
secret_key_file = "{secret}"
[mqtt]
port = {self.broker.port}
[storage]
directory = "{self.folder / "state"}"
{long_limits}{extra}"""
        )
        return path


class Agent:
    """`facepay run`, and its notifications to systemd.

    ``prefix``: a program that starts it; then, and with ``fresh``, it is a new interpreter. Otherwise the
    server of commands has imported its modules. ``code``: of ``Command``, in the place of ``facepay``.
    """

    def __init__(
        self, config: Path, prefix: tuple[str, ...] = (), *, fresh: bool = False, code: str = ""
    ) -> None:
        self._supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = config.parent / f"notify-{os.urandom(4).hex()}"
        self._supervisor.bind(str(address))
        self._supervisor.setblocking(False)
        self.log = (config.parent / "agent.log").open("ab")
        words, env = ["run", "--config", str(config)], {"NOTIFY_SOCKET": str(address)}
        self.process: subprocess.Popen[bytes] | Command
        if prefix or fresh:
            command = [*prefix, sys.executable, "-m", "agent.cli", *words]
            self.process = subprocess.Popen(command, stderr=self.log, env=os.environ | env)
        else:
            self.process = Command(words, stderr=self.log.fileno(), env=env, code=code)

    async def notified(self, notification: str) -> None:
        """Wait until the agent sends this notification to systemd."""
        async with asyncio.timeout(BUSY_S):
            receive = asyncio.create_task(self._receive(notification))
            while not receive.done():
                await asyncio.wait([receive], timeout=0.2)
                ended = self.process.poll()
                assert receive.done() or ended is None, f"the agent ended with {ended}: see agent.log"

    async def _receive(self, notification: str) -> None:
        while True:
            message = await asyncio.get_running_loop().sock_recv(self._supervisor, 4_096)
            if notification in message.decode():
                return

    async def ended(self, timeout_s: float) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if isinstance(self.process, Command):
            self.process.close()
        self._supervisor.close()
        self.log.close()


@asynccontextmanager
async def running(config: Path, *, fresh: bool = False, code: str = "") -> AsyncIterator[Agent]:
    agent = Agent(config, fresh=fresh, code=code)
    try:
        await agent.notified("READY=1")
        yield agent
    finally:
        agent.close()


@asynccontextmanager
async def till_of(place: Place, pinned: bool = True) -> AsyncIterator[tuple[TillClient, asyncio.Queue[str]]]:
    """A till, and the statuses in the ``state`` messages that it receives."""
    states: asyncio.Queue[str] = asyncio.Queue()

    def receive(topic: str, tree: dict[str, object]) -> None:
        if topic == TOPICS.state:
            states.put_nowait(str(tree["status"]))

    key = Signer.load_or_create(place.folder / "state").public if pinned else None
    till = TillClient(MqttConfig(port=place.broker.port), TOPICS, "till-1", pinned=key, on_message=receive)
    await till.start()
    try:
        yield till, states
    finally:
        await till.stop()


async def until(states: asyncio.Queue[str], status: str) -> None:
    async with asyncio.timeout(BUSY_S):
        while await states.get() != status:
            pass


async def status_with(place: Place, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The agent's status as soon as ``wanted`` is true of it."""
    async with asyncio.timeout(BUSY_S):
        while True:
            path = path_for(place.folder / "state")
            status = await asyncio.to_thread(request_status, path, timeout_s=60)
            if wanted(status):
                return status
            await asyncio.sleep(0.1)
