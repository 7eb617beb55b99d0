"""`facepay till simulate | load`: a simulated terminal without a camera; a fleet of them for a load test."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent import log
from agent.cli.console import Spinner, announce
from agent.cli.options import AsJson, File, file, grouped, pem, write_file
from agent.cli.till_options import (
    BrokerOptions,
    IdentityOptions,
    ObserverOptions,
    TerminalOptions,
    broker_of,
    key_folder,
    observer_of,
    topics_of,
)

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.kits.simulator.script import Script
    from agent.messages.topics import Topics
    from agent.mqtt.paho_client import Message

LOAD_EXAMPLE = "Example:  facepay till load --terminals 500 --rate 50 --seconds 20 --port 1883"
EXAMPLE = "Example:  facepay till simulate --scenario wrong_nonce --key terminal.pem"


@grouped
def simulate(
    scenario: Annotated[
        str, typer.Option(help="The answer to every request: a reason code or a fault (see docs).")
    ] = "same_person",
    script: Annotated[
        File, file(help="A TOML script of answers, see docs/reference/till-contract.md.")
    ] = None,
    key: Annotated[File, pem(help="Write the public key that the till must pin to this file.")] = None,
    at: TerminalOptions = TerminalOptions(),
    client: IdentityOptions = IdentityOptions(),
    observer: ObserverOptions = ObserverOptions(),
    requests: Annotated[int, typer.Option(min=0, help="End after so many requests; 0: never.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Simulate a terminal without a camera: state, last will, epoch, events, signed results, scripted faults.

    Works only with a broker on loopback. The signing key exists for this run only. Prints every message that
    the broker delivers, one line each.
    """
    from agent import event_loop
    from agent.config.file import load
    from agent.kits.simulator.script import Script, script_named

    log.setup("error")
    answers = load(script, Script) if script is not None else script_named(scenario)

    def show(message: Message) -> None:
        text = message.payload.decode("utf-8", "replace")
        if as_json:
            facts = {"topic": message.topic, "retained": message.retained, "payload": text}
            print(json.dumps(facts, ensure_ascii=False), flush=True)
        else:
            flag = " (retained)" if message.retained else ""
            print(f"{message.topic}{flag} {text[:600]}", flush=True)

    mqtt = broker_of(at, client)
    where = (mqtt, observer_of(mqtt, observer), topics_of(at))
    announce(f"connecting to the broker {mqtt.host}:{mqtt.port} …")
    event_loop.run(_run(where, answers, key, requests, show))


async def _run(
    where: tuple[MqttConfig, MqttConfig, Topics],
    script: Script,
    key: Path | None,
    requests: int,
    show: Callable[[Message], None],
) -> None:
    import asyncio
    import itertools

    from agent.core.model import Request
    from agent.kits.simulator.script import ScriptStep
    from agent.kits.simulator.simulator import Simulator
    from agent.kits.simulator.terminal import SimulatorSetup
    from agent.kits.till.watcher import Watcher
    from agent.root.wiring import BootClock

    mqtt, observer, topics = where
    steps, done, count = itertools.cycle(script.answer), asyncio.Event(), itertools.count(1)

    def next_step(_: Request) -> ScriptStep:
        if next(count) == requests:
            done.set()
        return next(steps)

    with key_folder("facepay-simulate-") as folder:
        simulator = Simulator(SimulatorSetup(mqtt, topics, folder, BootClock()), next_step)
        watcher = Watcher(observer, topics, show, simulator.terminal.reachability.problem)
        if key is not None:
            write_file(key, simulator.terminal.key.public.pem())
        await simulator.start()
        try:
            await watcher.start()
            await done.wait()
            await simulator.wait_until_idle()
            await asyncio.sleep(0.5)  # until the last acknowledgement is printed
        finally:
            await watcher.stop()
            await simulator.stop()


@grouped
def load(
    at: BrokerOptions = BrokerOptions(),
    terminals: Annotated[int, typer.Option(min=1, max=20_000, help="Simulated terminals.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, max=5_000, help="Requests per second in all.")] = 20.0,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="Duration of the requests.")] = 10.0,
    client: IdentityOptions = IdentityOptions(),
    as_json: AsJson = False,
) -> None:
    """Connect a simulated fleet to a broker, send requests at a fixed rate, and measure the results.

    Every terminal and till has a separate connection; each result is signed. `--ca-file` switches TLS on. Do
    not use this command on a shop's broker; the simulated site is called `load`. Exit 0: every request got
    its result, 1: some results were lost.
    """
    from agent import event_loop
    from agent.kits.load.load import Load, run

    wanted = terminals * 3 + 256  # open files: a connection needs three (paho adds a socket pair)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    config = broker_of(at, client).model_copy(update={"keepalive_s": 60})
    with Spinner(f"{terminals} terminals connect, then {rate:g} requests a second for {seconds:g} s"):
        report = event_loop.run(run(config, Load(terminals, rate, seconds)))
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        for name, value in asdict(report).items():
            print(f"{name:<18} {value}")
    if report.lost or report.connections_lost:
        raise typer.Exit(1)
