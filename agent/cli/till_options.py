"""Options of the `facepay till` commands: the broker, this client's identity, and the terminal.

A client has a separate identity. ``--config`` names a terminal's file: a command reads the broker's address
and CA, site and terminal from the file, but never the certificate, key, user name or password. A client with
the terminal's identity would make the broker disconnect the terminal.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agent.config import Config, MqttConfig

Host = Annotated[str | None, typer.Option(help="Broker address. [default: that of --config, else 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Broker port. [default: that of --config, else 1883]")]
Site = Annotated[str, typer.Option(help="Site id in the topics.")]
Terminal = Annotated[str, typer.Option(help="Terminal id in the topics.")]
TillId = Annotated[str, typer.Option("--till", help="This till's id.")]
SignKey = Annotated[
    Path | None,
    typer.Option(
        metavar="PEM", help="This till's private key for signatures; a shop's terminals require signatures."
    ),
]
Place = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A terminal's config file: broker address, CA, site and terminal; no identity.",
    ),
]


@dataclass(frozen=True, slots=True)
class Client:
    """This client's identity at the broker."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str = ""
    password_file: Path | None = None


NO_IDENTITY = Client()


def _options(
    ca_file: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The broker's CA; switches TLS on.")
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(metavar="PEM", help="This client's certificate, never a terminal's.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The certificate's private key.")
    ] = None,
    username: Annotated[str, typer.Option(help="This client's user name at the broker.")] = "",
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with this client's password.")
    ] = None,
) -> None:
    """The options of a ``Client``."""


def as_client(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: replace a command's parameter ``client`` with the options of ``Client``."""
    signature = inspect.signature(command, eval_str=True)
    options = inspect.signature(_options, eval_str=True).parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        client = Client(**{name: given.pop(name) for name in options})
        command(**given, client=client)

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += options.values() if parameter.name == "client" else [parameter]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # typer reads it
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def broker_of(host: str | None, port: int | None, client: Client, place: Config | None = None) -> MqttConfig:
    """The broker from the options, else from the config ``place``; the identity is always this client's.

    A shop's broker has one listener for terminals and one for tills: ``port`` may differ from the terminal's.
    """
    from dataclasses import asdict

    from agent.config import MqttConfig

    own = asdict(client)
    tls = bool(client.ca_file or client.cert_file)
    if place is not None:
        tls = tls or place.mqtt.tls
        host, port = host or place.mqtt.host, port or place.mqtt.port
        own["ca_file"] = client.ca_file or place.mqtt.ca_file
    return MqttConfig(host=host or "127.0.0.1", port=port or 1883, tls=tls, **own)
