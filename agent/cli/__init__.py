"""The command line: `facepay`. One file per command; heavy imports live inside the commands.

Every error of ours becomes two lines on stderr, ``code: sentence`` and ``fix: what to do``, and the exit code
of its class. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import copy
import errno
import sys
from typing import Annotated

import typer

from agent.cli import (
    bundle,
    camera,
    compare,
    config_bundle,
    demo,
    diag,
    doctor,
    enrol,
    init,
    keys,
    metrics,
    page,
    privacy_audit,
    reference,
    run,
    service,
    status,
    till,
    trace,
    why,
)
from agent.cli.exit_codes import leave, speak_any_encoding
from agent.errors import AgentError, StorageError
from agent.log import printable, without_url_secrets
from agent.texts import lines

TRY = "Try it, on any machine"
OPERATORS = "Operators: run a terminal"
ENGINEERS = "Field engineers: how is it, and what is wrong"
DEVELOPERS = "Till developers: play, judge, measure"

app = typer.Typer(
    name="facepay",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # with "rich", help loses every word in [brackets]
    help="Is the person in front of this terminal the holder of the enrolled photo?",
    epilog="Example:  facepay demo    All of a command's options: facepay COMMAND --help",
)
app.command("demo", rich_help_panel=TRY, short_help="The whole job here: broker, service, terminal, till.")(
    demo.demo
)
app.command("run", rich_help_panel=OPERATORS, short_help="The agent of this terminal, until SIGTERM.")(
    run.run
)
app.command(
    "service", rich_help_panel=OPERATORS, short_help="The embedded compare service: POST /face/compare."
)(service.service)
app.command(
    "init",
    rich_help_panel=OPERATORS,
    short_help="A terminal's first hour: config, key, first tests.",
    epilog="Example:  facepay init --site shop-1 --broker mqtts://broker.shop:8883",
)(init.init)
app.command(
    "enrol",
    rich_help_panel=OPERATORS,
    short_help="This terminal's TLS key, and the operator's certificate for it.",
    epilog="Example:  facepay enrol --url https://fleet.example/enrol --token-file token",
)(enrol.enrol)
app.add_typer(
    config_bundle.app,  # with those of cli/config.py
    name="config",
    rich_help_panel=OPERATORS,
    epilog="Example:  facepay config check --config /etc/facepay-agent/agent.toml",
)
app.add_typer(
    keys.app,
    name="keys",
    rich_help_panel=OPERATORS,
    epilog="Example:  facepay keys trust till-1 till-1.pem",
)
app.add_typer(
    reference.app,
    name="reference",
    rich_help_panel=OPERATORS,
    epilog="Example:  facepay reference check enrolled.jpg",
)
app.command(
    "status",
    rich_help_panel=ENGINEERS,
    short_help="How the running agent does, on one screen.",
    epilog="Example:  facepay status --config agent.toml --watch",
)(status.status)
app.command(
    "doctor",
    rich_help_panel=ENGINEERS,
    short_help="What is wrong with this terminal, and what to do about it.",
    epilog="Example:  facepay doctor --config agent.toml --only net.tls,api.auth",
)(doctor.doctor)
app.command(
    "why",
    rich_help_panel=ENGINEERS,
    short_help="Why the last verification ended as it did, frame by frame.",
    epilog="Example:  facepay why --config agent.toml --plot why.svg",
)(why.why)
app.add_typer(
    camera.app,
    name="camera",
    rich_help_panel=ENGINEERS,
    epilog="Example:  facepay camera shot look.jpg",
)
app.add_typer(
    trace.app,
    name="trace",
    rich_help_panel=ENGINEERS,
    epilog="Example:  facepay trace show --request r-17",
)
app.command(
    "metrics",
    rich_help_panel=ENGINEERS,
    short_help="The running agent's numbers as Prometheus text.",
    epilog="Example:  facepay metrics --config agent.toml",
)(metrics.metrics)
app.command(
    "page",
    rich_help_panel=ENGINEERS,
    short_help="A one-time link to the diagnostics page, with the live picture.",
    epilog="Example:  facepay page --config agent.toml",
)(page.page)
app.command(
    "privacy-audit",
    rich_help_panel=ENGINEERS,
    short_help="Every byte kept at rest: what for, whose, how guarded.",
    epilog="Example:  facepay privacy-audit --config agent.toml",
)(privacy_audit.privacy_audit)
app.command(
    "bundle",
    rich_help_panel=ENGINEERS,
    short_help="One file for support, with no secret and no face in it.",
    epilog="Example:  facepay bundle --output for-support.tar.gz    With sudo more can be read.",
)(bundle.bundle)
app.add_typer(
    diag.app,
    name="diag",
    rich_help_panel=ENGINEERS,
    epilog="Example:  facepay diag ask --terminal terminal-1 --sign-key ops.key --key terminal.pem",
)
app.add_typer(
    till.app,
    name="till",
    help="A till on the command line, a terminal to play with, a kit that judges.",
    rich_help_panel=DEVELOPERS,
    epilog="Example:  facepay till ask enrolled.jpg --site demo --terminal terminal-1",
)
app.add_typer(
    compare.app,
    name="compare",
    help="Ask whether two photos show the same person.",
    rich_help_panel=DEVELOPERS,
    epilog="Example:  facepay compare A.jpg B.jpg",
)


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


def only(name: str) -> typer.Typer:
    """The command line with this command or group alone, or whole when there is none of that name.

    For a call that names it: typer reads the signature of everything there is, 25 ms of the agent's start.
    """
    one = copy.copy(app)
    one.registered_commands = [each for each in app.registered_commands if each.name == name]
    one.registered_groups = [each for each in app.registered_groups if each.name == name]
    return one if one.registered_commands or one.registered_groups else app


def main() -> None:
    """Entry point of the `facepay` command."""
    speak_any_encoding()
    leave(_ran())


def _ran() -> int:
    """The exit code."""
    try:
        only(sys.argv[1] if len(sys.argv) > 1 else "")()
    except SystemExit as ended:  # so a command of typer's ends, and Ctrl-C with 130
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except AgentError as error:
        return _told(error)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        return _told(StorageError(f"not all could be written: {error.strerror}", code="output_failed"))
    except KeyboardInterrupt:
        return 130
    return 0


def _told(error: AgentError) -> int:
    words = without_url_secrets(f"{error.code}: {error}")
    print(printable(words), file=sys.stderr)  # it may quote the other side
    for line in lines(error.fix, "fix"):
        print(printable(line), file=sys.stderr)
    return error.exit_code
