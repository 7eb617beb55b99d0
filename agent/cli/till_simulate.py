"""`facepay till simulate`: a simulated terminal without a camera."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent import log
from agent.cli.options import AsJson, grouped, write_file
from agent.cli.till_options import IdentityOptions, TerminalOptions, broker_of, topics_of

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.kits.simulator.script import Script
    from agent.messages.topics import Topics
    from agent.mqtt.paho_client import Message

EXAMPLE = "Example:  facepay till simulate --scenario wrong_nonce --key terminal.pem"


@grouped
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
    at: TerminalOptions = TerminalOptions(),
    client: IdentityOptions = IdentityOptions(),
    requests: Annotated[int, typer.Option(min=0, help="End after so many requests; 0: never.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Simulate a terminal without a camera: state, last will, epoch, events, signed results, scripted faults.

    Works only with a broker on loopback. The signing key exists for this run only. Prints every message that
    the broker delivers, one line each.
    """
    import asyncio

    from agent.config.file import load
    from agent.kits.simulator.script import Script, named

    log.setup("error")
    answers = load(script, Script) if script is not None else named(scenario)

    def show(message: Message) -> None:
        text = message.payload.decode("utf-8", "replace")
        if as_json:
            facts = {"topic": message.topic, "retained": message.retained, "payload": text}
            print(json.dumps(facts, ensure_ascii=False), flush=True)
        else:
            flag = " (retained)" if message.retained else ""
            print(f"{message.topic}{flag} {text[:600]}", flush=True)

    asyncio.run(_run(broker_of(at, client), topics_of(at), answers, key, requests, show))


async def _run(
    mqtt: MqttConfig,
    topics: Topics,
    script: Script,
    key: Path | None,
    requests: int,
    show: Callable[[Message], None],
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
            write_file(key, simulator.terminal.key.public.pem())
        await simulator.start()
        try:
            await watcher.start()
            await done.wait()
            await simulator.idle()
            await asyncio.sleep(0.5)  # until the last acknowledgement is printed
        finally:
            await watcher.stop()
            await simulator.stop()
