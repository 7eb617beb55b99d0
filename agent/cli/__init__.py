"""The command line: `facepay`. One file per command; heavy imports live inside the commands.

Every error of ours becomes two lines on stderr, ``code: sentence`` and ``fix: what to do``, and the exit code
of its class. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from agent.cli import (
    bundle,
    camera,
    compare,
    config,
    demo,
    diag,
    doctor,
    keys,
    metrics,
    privacy_audit,
    reference,
    run,
    service,
    status,
    till,
    trace,
    why,
)
from agent.errors import AgentError

app = typer.Typer(
    name="facepay",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Is the person in front of this terminal the holder of the enrolled photo?",
    epilog="Start here:  facepay demo",
)
app.command("run")(run.run)
app.command("demo")(demo.demo)
app.command("service")(service.service)
app.command("doctor", epilog="Example:  facepay doctor --config agent.toml --only net.tls,api.auth")(
    doctor.doctor
)
app.command("status", epilog="Example:  facepay status --config agent.toml --watch")(status.status)
app.command("metrics", epilog="Example:  facepay metrics --config agent.toml")(metrics.metrics)
app.command("bundle", epilog="Example:  sudo facepay bundle --output for-support.tar.gz")(bundle.bundle)
app.command("privacy-audit", epilog="Example:  sudo facepay privacy-audit")(privacy_audit.privacy_audit)
app.command("why", epilog="Example:  facepay why --config agent.toml --plot why.svg")(why.why)
app.add_typer(camera.app, name="camera")
app.add_typer(trace.app, name="trace")
app.add_typer(compare.app, name="compare", help="Ask whether two photos show the same person.")
app.add_typer(reference.app, name="reference")
app.add_typer(till.app, name="till")
app.add_typer(keys.app, name="keys")
app.add_typer(diag.app, name="diag")
app.add_typer(config.app, name="config")


def _show_version(wanted: bool) -> None:
    if wanted:
        from agent import __version__

        print(f"facepay-agent {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of facepay itself."""


def main() -> None:
    """Entry point of the `facepay` command."""
    try:
        app()
    except AgentError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        if error.fix:
            print(f"fix: {error.fix}", file=sys.stderr)
        if error.fix_zh:
            print(f"处理: {error.fix_zh}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
