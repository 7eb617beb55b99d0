"""`facepay service | demo`: the embedded compare service, alone and with all other parts of a shop."""

from typing import Annotated

import typer

from agent import log
from agent.cli.config import load_config
from agent.cli.console import announce
from agent.cli.options import AsJson, ConfigFile


def service(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    config: ConfigFile = None,
    workers: Annotated[int | None, typer.Option(help="Parallel recognitions.", min=1, max=32)] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Inject a fault, repeatable: latency=MS, code=N[:FLAG], drop, drip, truncate, html, nan, "
            "types; the suffix @0.1 limits the fault to that share of requests."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer POST /face/compare until SIGTERM: the 2018 contract, with real recognition.

    Also answers the successor, CompareFace of 2020-03-03, at POST /, with the same accounts and limits.
    Without `--config`, serves the published example account on loopback. One line on stderr reports that the
    service is ready; `--json` logs one JSON object per line.

    Example:  facepay service --port 8100

    Example:  facepay service --fault code=15@0.2 --fault latency=400
    """
    from agent.health.process import disable_core_dumps
    from agent.resources import config_file
    from agent.service.compare_service import serve
    from agent.service.faults import parse_fault
    from agent.service.settings import ServiceConfig, load_service

    disable_core_dumps()

    def read() -> ServiceConfig:
        return load_service(config or config_file("service.toml"), host=host, port=port, workers=workers)

    faults, settings = tuple(parse_fault(text) for text in fault or ()), read()
    announce("loading the face models …")
    serve(settings, faults=faults, json_lines=as_json, reread=read)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep all parts running after the visits.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run broker, compare service, terminal and till on this machine: seven visits, one verdict each.

    Needs no camera, account or network. `--config` takes [vision], [policy] and [verification] from a file.
    Exit 0 only if every verification has the result that its scene requires.

    Example:  facepay demo --json
    """
    from agent import event_loop
    from agent.cli.command_line import end_as_ctrl_c
    from agent.demo.demo_output import run_demo

    log.setup("error")
    end_as_ctrl_c()
    if not event_loop.run(run_demo(load_config(config) if config else None, keep=keep, as_json=as_json)):
        raise typer.Exit(1)
