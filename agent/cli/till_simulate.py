"""`facepay till simulate`: a simulated terminal without a camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.till_options import (
    NO_IDENTITY,
    Client,
    Host,
    Port,
    Site,
    Terminal,
    as_client,
    broker_of,
)

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.kits.simulator.script import Script
    from agent.messages.topics import Topics
    from agent.mqtt.paho_client import Message

EXAMPLE = "Example:  facepay till simulate --scenario wrong_nonce --key terminal.pem"


@as_client
def simulate(
    scenario: Annotated[
        str, typer.Option(help="The answer to every request: a reason code or a fault (see docs).")
    ] = "same_person",
    script: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A TOML script of answers, see docs/reference/till-contract.md."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Write the public key that the till must pin to this file."),
    ] = None,
    host: Host = None,
    port: Port = None,
    site: Site = "site",
    terminal: Terminal = "terminal",
    client: Client = NO_IDENTITY,
    requests: Annotated[int, typer.Option(min=0, help="End after so many requests; 0: never.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Simulate a terminal without a camera: state, last will, epoch, events, signed results, scripted faults.

    Works only with a broker on loopback. The signing key exists for this run only. Prints every message that
    the broker delivers, one line each.
    """
    import asyncio

    from agent import log
    from agent.config.file import load
    from agent.kits.simulator.script import Script, named
    from agent.messages.topics import Topics, checked

    log.setup("error")
    answers = load(script, Script) if script is not None else named(scenario)
    topics = Topics(checked(site), checked(terminal))
    show = _Show(as_json=as_json)
    mqtt = broker_of(host, port, client)
    asyncio.run(_run(mqtt, topics, answers, key, requests, show))


class _Show:
    """Prints one line per message."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, message: Message) -> None:
        import json

        text = message.payload.decode("utf-8", "replace")
        if self._as_json:
            facts = {"topic": message.topic, "retained": message.retained, "payload": text}
            print(json.dumps(facts, ensure_ascii=False), flush=True)
        else:
            flag = " (retained)" if message.retained else ""
            print(f"{message.topic}{flag} {text[:600]}", flush=True)


async def _run(
    mqtt: MqttConfig, topics: Topics, script: Script, key: Path | None, requests: int, show: _Show
) -> None:
    import asyncio
    import itertools
    import tempfile

    from agent.core.model import Request
    from agent.kits.simulator.script import ScriptStep
    from agent.kits.simulator.simulator import Simulator
    from agent.kits.simulator.terminal import SimulatorSetup
    from agent.kits.till.watcher import Watcher
    from agent.root.wiring import BootClock

    steps, done, count = itertools.cycle(script.answer), asyncio.Event(), itertools.count(1)

    def next_step(_: Request) -> ScriptStep:
        if next(count) == requests:
            done.set()
        return next(steps)

    with tempfile.TemporaryDirectory(prefix="facepay-simulate-") as folder:
        simulator = Simulator(SimulatorSetup(mqtt, topics, Path(folder), BootClock()), next_step)
        watcher = Watcher(mqtt, topics, show)
        if key is not None:
            write_key(key, simulator.terminal.key.public.pem())
        await simulator.start()
        try:
            await watcher.start()
            await done.wait()
            await simulator.idle()
            await asyncio.sleep(0.5)  # until the last acknowledgement is printed
        finally:
            await watcher.stop()
            await simulator.stop()


def write_key(path: Path, pem: bytes) -> None:
    """Write a public key. Raises ``AgentError`` (``file_unwritable``)."""
    from agent.errors import AgentError

    try:
        path.write_bytes(pem)
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}", code="file_unwritable") from error
