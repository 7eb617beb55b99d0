"""The command line ``facepay``: commands in modules by topic, registered from one table.

Every ``AgentError`` becomes two lines on stderr, ``code: sentence`` and ``fix: step``, and the exit code of
its class. Any other exception is a defect of the program and keeps its traceback.

A command imports heavy libraries in its function: an import here delays each command.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated, NamedTuple

import typer

from agent.cli import (
    bundle,
    camera,
    compare,
    config_bundle,
    doctor,
    enrol,
    fleet,
    init,
    keys,
    liveness,
    privacy_audit,
    reference,
    run,
    service,
    status,
    till,
    trace,
)
from agent.cli.exit_codes import leave, speak_any_encoding
from agent.errors import AgentError, StorageError
from agent.log import printable, without_url_secrets
from agent.texts import Text, lines

TRY = "Try it, on any machine"
OPERATORS = "Operators: run a terminal"
ENGINEERS = "Field engineers: status and faults of a terminal"
DEVELOPERS = "Till developers: simulate, test, measure"


class Row(NamedTuple):
    """One command, or one group of commands (``typer.Typer``), of ``facepay``.

    ``line``: its line in ``facepay --help``; a group's line is the help of its ``Typer``.
    ``example``: the end of its help; empty where the function's docstring holds the example.
    """

    name: str
    panel: str
    run: Callable[..., None] | typer.Typer
    line: str = ""
    example: str = ""


COMMANDS = (
    Row("demo", TRY, service.demo, "Run broker, service, terminal and till on this machine."),
    Row("run", OPERATORS, run.run, "Run the agent of this terminal until SIGTERM."),
    Row("service", OPERATORS, service.service, "Run the embedded compare service: POST /face/compare."),
    Row("init", OPERATORS, init.init, "Set up a terminal: config, key, first checks.",
        "facepay init --site shop-1 --broker mqtts://broker.shop:8883"),
    Row("enrol", OPERATORS, enrol.enrol, "Make the terminal's TLS key and request its certificate.",
        "facepay enrol --url https://fleet.example/enrol --token-file token"),
    Row("config", OPERATORS, config_bundle.app,  # with the commands of cli/config.py
        example="facepay config check --config /etc/facepay-agent/agent.toml"),
    Row("fleet", OPERATORS, fleet.app, example="facepay fleet watch --host broker.example --ca-file ca.pem"),
    Row("keys", OPERATORS, keys.app, example="facepay keys trust till-1 till-1.pem"),
    Row("reference", OPERATORS, reference.app, example="facepay reference check enrolled.jpg"),
    Row("liveness", OPERATORS, liveness.app,
        example="facepay liveness import 2.7_80x80_MiniFASNetV2.pth"),
    Row("status", ENGINEERS, status.status, "Show the status of the running agent on one screen.",
        "facepay status --config agent.toml --watch"),
    Row("doctor", ENGINEERS, doctor.doctor, "Find the faults of this terminal, and a fix for each.",
        "facepay doctor --config agent.toml --only net.tls,api.auth"),
    Row("why", ENGINEERS, trace.why, "Show the reason for the last result, frame by frame.",
        "facepay why --config agent.toml --plot why.svg"),
    Row("camera", ENGINEERS, camera.app, example="facepay camera shot picture.jpg"),
    Row("trace", ENGINEERS, trace.app, example="facepay trace show --request r-17"),
    Row("metrics", ENGINEERS, status.metrics, "Print the running agent's metrics as Prometheus text.",
        "facepay metrics --config agent.toml"),
    Row("page", ENGINEERS, status.page, "Print a one-time link to the diagnostics page with the live view.",
        "facepay page --config agent.toml"),
    Row("privacy-audit", ENGINEERS, privacy_audit.privacy_audit,
        "List all stored data: purpose, person, age, protection.",
        "facepay privacy-audit --config agent.toml"),
    Row("bundle", ENGINEERS, bundle.bundle, "Write one file for support, without secrets and faces.",
        "facepay bundle --output for-support.tar.gz    With sudo, the file contains more."),
    Row("diag", ENGINEERS, doctor.remote,
        example="facepay diag ask --terminal terminal-1 --sign-key ops.key --key terminal.pem"),
    Row("till", DEVELOPERS, till.app,
        example="facepay till ask enrolled.jpg --site demo --terminal terminal-1"),
    Row("compare", DEVELOPERS, compare.app, example="facepay compare A.jpg B.jpg"),
)  # fmt: skip

app = typer.Typer(
    name="facepay",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # with "rich", help loses every text in [brackets]
    help="Check whether the person in front of this terminal is the holder of the enrolled photo.",
    epilog="Example:  facepay demo    All options of a command: facepay COMMAND --help",
)
for row in COMMANDS:
    epilog = f"Example:  {row.example}" if row.example else None
    if isinstance(row.run, typer.Typer):
        app.add_typer(row.run, name=row.name, rich_help_panel=row.panel, epilog=epilog)
    else:
        app.command(row.name, rich_help_panel=row.panel, short_help=row.line, epilog=epilog)(row.run)


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
    """The command line with this command or group alone; the whole command line for an unknown name.

    Typer reads the signatures of all registered commands: 25 ms of the agent's start.
    """
    one = copy.copy(app)
    one.registered_commands = [each for each in app.registered_commands if each.name == name]
    one.registered_groups = [each for each in app.registered_groups if each.name == name]
    return one if one.registered_commands or one.registered_groups else app


def main() -> None:
    """Entry point of the ``facepay`` command."""
    speak_any_encoding()
    leave(_run())


def _run() -> int:
    """Run the command of ``sys.argv``; return the exit code."""
    try:
        try:
            only(sys.argv[1] if len(sys.argv) > 1 else "")()
        except SystemExit as ended:  # the normal end of a Typer command; 130 after Ctrl-C
            with contextlib.suppress(AttributeError, BrokenPipeError):  # a closed stdout is None
                sys.stdout.flush()  # Python 3.11.2 writes a short output only here
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except AgentError as error:
        return _report(error)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - the rest of the output is lost already
            os.dup2(nothing.fileno(), 1)
        return _report(StorageError(f"the output is incomplete: {error.strerror}", code="output_failed"))
    except KeyboardInterrupt:
        return 130
    return 0


def _report(error: AgentError) -> int:
    text = without_url_secrets(f"{error.code}: {error}")
    print(printable(text), file=sys.stderr)  # the sentence may quote the other side
    for line in lines(_fix_of(error), "fix"):
        print(printable(line), file=sys.stderr)
    return error.exit_code


def _fix_of(error: AgentError) -> Text:
    """The fix; for a config that this user may not read, the same command with sudo."""
    from agent.health.conditions import fix_for

    if error.code == "config_unreadable" and isinstance(error.__cause__, PermissionError):
        return Text("fix.run_with_sudo", command=shlex.join(["sudo", "facepay", *sys.argv[1:]]))
    return fix_for(error)
