"""The answers to `facepay init`, from options or prompts, and the config made of these answers."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from agent.errors import ConfigError
from agent.resources import config_file
from agent.texts import Text, beside

if TYPE_CHECKING:
    from agent.fleet.places import TerminalPaths


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
    secret_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the API key; default: a prompt.")
    ] = None
    camera: Annotated[str, typer.Option(metavar="KIND[:SOURCE]", help="E.g. stream:rtsps://…")] = ""
    storage: Annotated[str, typer.Option(metavar="DIR", help="State directory.")] = ""
    accept: Annotated[
        list[str] | None, typer.Option(metavar="RISK", help="Accept a risk by name; may be repeated.")
    ] = None


def completed(given: Answers, *, ask: bool) -> Answers:
    """Prompt for the values without an option. Without prompts, site and terminal are required.

    Raises:
        ConfigError: ``init_incomplete``.
    """
    from agent.fleet import machine

    if "@" in given.camera:
        raise ConfigError(
            "--camera: a password in an argument is visible to every user of this machine",
            code="init_incomplete",
            fix=Text("fix.camera_password_in_argument"),
        )
    known = replace(given, terminal=given.terminal or machine.terminal_id())
    if not ask:
        if not (known.site and known.terminal):
            message, fix = "--site, --terminal: both are required", Text("fix.site_or_terminal_missing")
            raise ConfigError(message, code="init_incomplete", fix=fix)
        return known

    def prompt(field: str, default: str = "") -> str:
        title = beside(Text(f"prompt.{field}"))
        given_value: str = getattr(given, field)
        return given_value or str(typer.prompt(title, default=default, show_default=bool(default)))

    return replace(
        known,
        site=prompt("site"),
        terminal=prompt("terminal", known.terminal),
        broker=prompt("broker", "mqtts://127.0.0.1:8883"),
        api=prompt("api", "http://127.0.0.1:8100/face/compare"),
        appid=prompt("appid"),
        bucket=prompt("bucket"),
        secret_id=prompt("secret_id"),
        camera=prompt("camera", "picamera2"),
    )


def accepting(answers: Answers, places: TerminalPaths) -> Answers:
    """Prompt for each risk that the profile refuses. A risk that is not accepted stays refused."""
    from agent.config import Config
    from agent.config.profile import risks

    try:
        config = Config.model_validate(tomllib.loads(config_text(answers, places)))
    except ValueError:
        return answers  # loading the file reports the error with its line
    accepted = answers.accept or []
    taken = [name for name, holds in risks(config).items() if holds and name not in accepted]
    if config.profile == "demo":
        return answers
    more = [name for name in taken if typer.confirm(beside(Text("prompt.risk", risk=name)))]
    return replace(answers, accept=[*accepted, *more])


def config_text(answers: Answers, places: TerminalPaths) -> str:
    """The shipped config file with the answers filled in. Raises ``ConfigError``."""
    from agent.fleet.template import Value, fill

    kind, _, source = answers.camera.partition(":")
    optional: dict[str, Value] = {
        "compare.url": answers.api,
        "compare.appid": answers.appid,
        "compare.bucket": answers.bucket,
        "compare.secret_id": answers.secret_id,
        "camera.kind": kind,
        "camera.source": source,
        "storage.directory": answers.storage,
    }
    values: dict[str, Value] = {
        "profile": answers.profile,
        "site": answers.site,
        "terminal": answers.terminal,
        "accepted_risks": answers.accept or [],
        "compare.secret_key_file": places.named("secret-key"),
        **_broker(answers.broker),
        **{key: value for key, value in optional.items() if value},
    }
    return fill(config_file("agent.toml").read_text(encoding="utf-8"), values)


def _broker(url: str) -> dict[str, str | int | bool | list[str]]:
    if not url:
        return {}
    try:
        parts = urlsplit(url)
        port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
    except ValueError as error:
        raise ConfigError(f"--broker: {error}") from error
    if parts.scheme not in ("mqtts", "mqtt") or not parts.hostname or parts.username or parts.password:
        raise ConfigError("--broker: mqtts://host:port or mqtt://host:port, without a user or password")
    return {"mqtt.host": parts.hostname, "mqtt.port": port, "mqtt.tls": parts.scheme == "mqtts"}
