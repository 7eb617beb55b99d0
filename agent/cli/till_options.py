"""Options of the `facepay till` commands: the broker, this client's identity, and the terminal.

A client has a separate identity. ``--config`` names a terminal's file: a command reads the broker's address
and CA, site and terminal from the file, but never the certificate, key, user name or password. A client with
the terminal's identity would make the broker disconnect the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.config import load_config
from agent.cli.options import File, file, pem

if TYPE_CHECKING:
    from agent.config import MqttConfig
    from agent.messages.topics import Topics

TillId = Annotated[str, typer.Option("--till", help="This till's id.")]
SignKey = Annotated[
    File, pem(help="This till's private key for signatures; a shop's terminals require signatures.")
]
TerminalFile = Annotated[
    File,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A terminal's config file: broker address, CA, site and terminal; no identity.",
    ),
]
_DEFAULT = "[default: that of --config, else"


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """The options of a broker's address."""

    host: Annotated[str | None, typer.Option(help=f"Broker address. {_DEFAULT} 127.0.0.1]")] = None
    port: Annotated[int | None, typer.Option(help=f"Broker port. {_DEFAULT} 1883]")] = None


@dataclass(frozen=True, slots=True)
class TerminalOptions(BrokerOptions):
    """The options of a terminal at a broker."""

    site: Annotated[str, typer.Option(help="Site id in the topics.")] = "site"
    terminal: Annotated[str, typer.Option(help="Terminal id in the topics.")] = "terminal"


@dataclass(frozen=True, slots=True)
class TillOptions(TerminalOptions):
    """The options of a till of a terminal."""

    till: TillId = "till-1"
    config: TerminalFile = None


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """The options of this client's identity at the broker."""

    ca_file: Annotated[File, pem(help="The broker's CA; switches TLS on.")] = None
    cert_file: Annotated[File, pem(help="This client's certificate, never a terminal's.")] = None
    key_file: Annotated[File, pem(help="The certificate's private key.")] = None
    username: Annotated[str, typer.Option(help="This client's user name at the broker.")] = ""
    password_file: Annotated[File, file(help="File with this client's password.")] = None


@dataclass(frozen=True, slots=True)
class ObserverOptions:
    """The options of a second client, where the broker binds the client id to the certificate."""

    observer_port: Annotated[
        int | None, typer.Option(help="Broker port of tills and of the observing client. [default: --port]")
    ] = None
    observer_cert_file: Annotated[
        File, pem(help="Certificate of the observing client; --cert-file is then the terminal's.")
    ] = None
    observer_key_file: Annotated[File, pem(help="The private key of --observer-cert-file.")] = None


def observer_of(mqtt: MqttConfig, options: ObserverOptions) -> MqttConfig:
    """The connection of the observing client: ``mqtt`` with the values of the options that are given."""
    own = {
        "port": options.observer_port,
        "cert_file": options.observer_cert_file,
        "key_file": options.observer_key_file,
    }
    return mqtt.model_copy(update={name: value for name, value in own.items() if value is not None})


def broker_of(at: BrokerOptions, client: IdentityOptions, config: Path | None = None) -> MqttConfig:
    """The broker from the options, else from the file ``config``; the identity is always this client's.

    A shop's broker has one listener for terminals and one for tills: ``port`` may differ from the terminal's.
    """
    from agent.config import MqttConfig

    base = MqttConfig() if config is None else load_config(config).mqtt
    own = asdict(client) | {"ca_file": client.ca_file or base.ca_file}
    tls = bool(client.ca_file or client.cert_file) or base.tls
    return MqttConfig(host=at.host or base.host, port=at.port or base.port, tls=tls, **own)


def topics_of(at: TerminalOptions, config: Path | None = None) -> Topics:
    """The topics of the terminal; of the terminal of the file ``config``, if given."""
    from agent.messages.topics import Topics, checked_id

    source = at if config is None else load_config(config)
    return Topics(checked_id(source.site), checked_id(source.terminal))


@contextmanager
def key_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder for the keys of one run, deleted also at SIGTERM and SIGHUP.

    Raises ``ConfigError``: its path is too long for a state directory.
    """
    import tempfile

    from agent.cli.command_line import end_as_ctrl_c
    from agent.config.temporary_directory import checked_directory

    end_as_ctrl_c()
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield checked_directory(Path(folder))
