"""The table of the commands of ``facepay``, and the command line made from it.

Only the modules of the wanted command are imported: a module that another command needs delays each start.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, NamedTuple

import typer

TRY = "Try it, on any machine"
OPERATORS = "Operators: run a terminal"
ENGINEERS = "Field engineers: status and faults of a terminal"
DEVELOPERS = "Till developers: simulate, test, measure"


class Command(NamedTuple):
    """One command, or one group of commands (``typer.Typer``), of ``facepay``.

    ``target``: module of agent/cli and name in it, ``module.name``; the object is a function, or a ``Typer``
    for a group. ``summary``: the line in ``facepay --help``; of a group, the help of its ``Typer``.
    ``example``: the end of the help; empty where the docstring of the function contains the example.
    """

    name: str
    panel: str
    target: str
    summary: str = ""
    example: str = ""

    def load(self) -> Callable[..., None] | typer.Typer:
        module, name = self.target.split(".")
        loaded: Callable[..., None] | typer.Typer = getattr(import_module(f"agent.cli.{module}"), name)
        return loaded


COMMANDS = (
    Command("demo", TRY, "service.demo", "Run broker, service, terminal and till on this machine."),
    Command("run", OPERATORS, "run.run", "Run the agent of this terminal until SIGTERM."),
    Command("service", OPERATORS, "service.service", "Run the embedded compare service: POST /face/compare."),
    Command(
        "init",
        OPERATORS,
        "init.init",
        "Set up a terminal: config, key, first checks.",
        example="facepay init --site shop-1 --broker mqtts://broker.shop:8883",
    ),
    Command(
        "enrol",
        OPERATORS,
        "enrol.enrol",
        "Make the terminal's TLS key and request its certificate.",
        example="facepay enrol --url https://fleet.example/enrol --token-file token",
    ),
    Command(
        "config",
        OPERATORS,
        "config_bundle.app",
        example="facepay config check --config /etc/facepay-agent/agent.toml",
    ),
    Command(
        "fleet", OPERATORS, "fleet.app", example="facepay fleet watch --host broker.example --ca-file ca.pem"
    ),
    Command("keys", OPERATORS, "keys.app", example="facepay keys trust till-1 till-1.pem"),
    Command("reference", OPERATORS, "reference.app", example="facepay reference check enrolled.jpg"),
    Command(
        "liveness", OPERATORS, "liveness.app", example="facepay liveness import 2.7_80x80_MiniFASNetV2.pth"
    ),
    Command(
        "status",
        ENGINEERS,
        "status.status",
        "Show the status of the running agent on one screen.",
        example="facepay status --config agent.toml --watch",
    ),
    Command(
        "doctor",
        ENGINEERS,
        "doctor.doctor",
        "Find the faults of this terminal, and a fix for each.",
        example="facepay doctor --config agent.toml --only net.tls,api.auth",
    ),
    Command(
        "why",
        ENGINEERS,
        "trace.why",
        "Show the reason for the last result, frame by frame.",
        example="facepay why --config agent.toml --plot why.svg",
    ),
    Command("camera", ENGINEERS, "camera.app", example="facepay camera shot picture.jpg"),
    Command("trace", ENGINEERS, "trace.app", example="facepay trace show --request r-17"),
    Command(
        "metrics",
        ENGINEERS,
        "status.metrics",
        "Print the running agent's metrics as Prometheus text.",
        example="facepay metrics --config agent.toml",
    ),
    Command(
        "page",
        ENGINEERS,
        "status.page",
        "Print a one-time link to the diagnostics page with the live view.",
        example="facepay page --config agent.toml",
    ),
    Command(
        "privacy-audit",
        ENGINEERS,
        "privacy_audit.privacy_audit",
        "List all stored data: purpose, person, age, protection.",
        example="facepay privacy-audit --config agent.toml",
    ),
    Command(
        "bundle",
        ENGINEERS,
        "bundle.bundle",
        "Write one file for support, without secrets and faces.",
        example="facepay bundle --output for-support.tar.gz    With sudo, the file contains more.",
    ),
    Command(
        "diag",
        ENGINEERS,
        "doctor.remote",
        example="facepay diag ask --terminal terminal-1 --sign-key ops.key --key terminal.pem",
    ),
    Command(
        "till",
        DEVELOPERS,
        "till.app",
        example="facepay till ask enrolled.jpg --site demo --terminal terminal-1",
    ),
    Command("compare", DEVELOPERS, "compare.app", example="facepay compare A.jpg B.jpg"),
)


def application(name: str = "") -> typer.Typer:
    """The command line with this command or group alone; with all for any other name, for the help."""
    app = typer.Typer(
        name="facepay",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",  # with "rich", help loses every text in [brackets]
        help="Check whether the person in front of this terminal is the holder of the enrolled photo.",
        epilog="Example:  facepay demo    All options of a command: facepay COMMAND --help",
    )
    app.callback()(options)
    for command in [command for command in COMMANDS if command.name == name] or COMMANDS:
        epilog = f"Example:  {command.example}" if command.example else None
        loaded = command.load()
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=command.name, rich_help_panel=command.panel, epilog=epilog)
        else:
            register = app.command(
                command.name, rich_help_panel=command.panel, short_help=command.summary, epilog=epilog
            )
            register(loaded)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from agent import __version__

        print(f"facepay-agent {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of facepay itself."""
