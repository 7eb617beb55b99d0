"""The answers to `facepay init`, and the config made of these answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from agent.cli.options import File, file
from agent.errors import ConfigError
from agent.texts import Text

if TYPE_CHECKING:
    from agent.fleet.terminal_paths import TerminalPaths
    from agent.fleet.toml_edit import Value

INLINE = "inline"  # the answer to ``photos`` for photos inside the requests


@dataclass(frozen=True, slots=True)
class Answers:
    """The options and answers; an empty value keeps the shipped value."""

    profile: Annotated[str, typer.Option(metavar="NAME", help="shop | demo")] = "shop"
    site: Annotated[str, typer.Option(metavar="ID", help="The shop.")] = ""
    terminal: Annotated[str, typer.Option(metavar="ID", help="Default: from the serial number.")] = ""
    broker: Annotated[str, typer.Option(metavar="URL", help="mqtts://host:8883, or mqtt://…")] = ""
    api: Annotated[str, typer.Option(metavar="URL", help="The compare API.")] = ""
    appid: Annotated[str, typer.Option(metavar="ID", help="The API account.")] = ""
    bucket: Annotated[str, typer.Option(metavar="NAME", help="The API's bucket.")] = ""
    secret_id: Annotated[str, typer.Option(metavar="ID", help="Id of the API key; not the key.")] = ""
    secret_key_file: Annotated[File, file(help="File with the API key; default: a prompt.")] = None
    camera: Annotated[str, typer.Option(metavar="KIND[:SOURCE]", help="E.g. stream:rtsps://…")] = ""
    photos: Annotated[
        str, typer.Option(metavar="HOST", help="Host of the enrolled photos, or inline: inside requests.")
    ] = ""
    storage: Annotated[str, typer.Option(metavar="DIR", help="State directory.")] = ""
    accept: Annotated[
        list[str] | None, typer.Option(metavar="RISK", help="Accept a risk by name; may be repeated.")
    ] = None

    @property
    def secret_key_here(self) -> bytes:
        """The published key of the example account; empty for every other account."""
        from agent.service.settings import EXAMPLE_ID, EXAMPLE_SECRET

        is_example = self.secret_id == EXAMPLE_ID and self.secret_key_file is None
        return EXAMPLE_SECRET if is_example else b""


def completed(answers: Answers) -> Answers:
    """The answers without prompts; site and terminal are required.

    Raises ``ConfigError`` (``init_incomplete``).
    """
    from agent.fleet import machine

    check_camera_argument(answers.camera)
    with_terminal = replace(answers, terminal=answers.terminal or machine.terminal_id())
    if not (with_terminal.site and with_terminal.terminal):
        message, fix = Text("detail.ids_required"), Text("fix.site_or_terminal_missing")
        raise ConfigError(message, code="init_incomplete", fix=fix)
    return with_terminal


def check_camera_argument(camera: str) -> None:
    """Refuse a password in an argument. Raises ``ConfigError`` (``init_incomplete``)."""
    if "@" in camera:
        why = Text("detail.password_in_argument")
        raise ConfigError(why, code="init_incomplete", fix=Text("fix.camera_password_in_argument"))


def values_of(answers: Answers, paths: TerminalPaths) -> dict[str, Value]:
    """The keys of the config that the answers set. Raises ``ConfigError``."""
    kind, _, source = answers.camera.partition(":")
    photos = answers.photos
    optional: dict[str, Value] = {
        "compare.url": answers.api,
        "compare.appid": answers.appid,
        "compare.bucket": answers.bucket,
        "compare.secret_id": answers.secret_id,
        "compare.reference_hosts": [photos] if photos and photos != INLINE else [],
        "inline_reference": photos == INLINE,
        "camera.kind": kind,
        "camera.source": source,
        "storage.directory": str(Path(answers.storage).absolute()) if answers.storage else "",
    }
    return {
        "profile": answers.profile,
        "site": answers.site,
        "terminal": answers.terminal,
        "accepted_risks": answers.accept or [],
        "compare.secret_key_file": paths.secret_in_config("secret-key"),
        **_broker(answers.broker),
        **{key: value for key, value in optional.items() if value},
    }


def _broker(url: str) -> dict[str, Value]:
    if not url:
        return {}
    try:
        parts = urlsplit(url)
        port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
    except ValueError as error:
        raise ConfigError(Text("detail.broker_url"), fix=Text("fix.init_value")) from error
    if parts.scheme not in ("mqtts", "mqtt") or not parts.hostname or parts.username or parts.password:
        raise ConfigError(Text("detail.broker_url"), fix=Text("fix.init_value"))
    return {"mqtt.host": parts.hostname, "mqtt.port": port, "mqtt.tls": parts.scheme == "mqtts"}
