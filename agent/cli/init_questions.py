"""The prompts of `facepay init`: only for values that this machine does not show. Each answer is judged."""

from __future__ import annotations

import re
import sys
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from agent.cli.init_answers import Answers, check_camera_argument, values_of
from agent.errors import AgentError, ConfigError
from agent.log import printable, without_url_secrets
from agent.resources import config_file
from agent.texts import Text, beside, locales, written

if TYPE_CHECKING:
    from agent.fleet.places import TerminalPaths

_API = "http://127.0.0.1:8100/face/compare"
_PI = Path("/proc/device-tree/model")

# question -> the starts of the messages that refuse its answer
_KEYS = {
    "site": ("site:",),
    "terminal": ("terminal:",),
    "broker": ("mqtt.", "--broker"),
    "api": ("compare.url:",),
    "appid": ("compare.appid:",),
    "bucket": ("compare.bucket:",),
    "secret_id": ("compare.secret_id:",),
    "camera": ("camera.", "camera:"),
    "photos": ("compare.reference_hosts:",),
}
_MAY_BE_EMPTY = ("bucket", "photos")


def asked(given: Answers, places: TerminalPaths) -> Answers:
    """The answers, with a prompt for each value without an option. Raises ``ConfigError``."""
    from agent.fleet import machine

    check_camera_argument(given.camera)
    known = _found("terminal", given, machine.terminal_id())
    known = _question("site", known, "", places)
    known = _question("terminal", known, "", places)
    known = _question("broker", known, "mqtts://127.0.0.1:8883", places)
    known = _question("api", known, _API, places)
    for field, value in _account_here(known.api, places).items():
        known = _found(field, known, value)
    for field in ("appid", "bucket", "secret_id"):
        known = _question(field, known, "", places)
    known = _found("camera", known, _camera_here())
    known = _question("camera", known, "picamera2" if _PI.exists() else "v4l2", places)
    return _question("photos", known, "", places)


def accepting(answers: Answers, places: TerminalPaths) -> Answers:
    """Prompt for each risk that the profile refuses. Raises ``ConfigError``: a risk is not accepted."""
    from agent.config import Config
    from agent.config.profile import risks

    try:
        config = Config.model_validate(tomllib.loads(_text(answers, places)))
    except ValueError:
        return answers  # loading the file reports the error with its line
    accepted = answers.accept or []
    if config.profile == "demo":
        return answers
    answered = dict[str, bool]()
    for name in (name for name, holds in risks(config).items() if holds and name not in accepted):
        print(beside(Text(f"risk.{name}")))
        answered[name] = typer.confirm(beside(Text("prompt.risk", risk=name)))
    if refused := ", ".join(name for name, accepts in answered.items() if not accepts):
        raise ConfigError(Text("detail.risk_not_accepted", risks=refused), code="risk_not_accepted")
    return replace(answers, accept=[*accepted, *answered])


def _question(field: str, known: Answers, default: str, places: TerminalPaths) -> Answers:
    """Prompt until the judgement of a config accepts the answer. An option is judged in the same way."""
    value = str(getattr(known, field))
    while True:
        if not value:
            title = beside(Text(f"prompt.{field}"))
            value = str(typer.prompt(title, default=default, show_default=bool(default))).strip()
        answered = _with(known, field, value)
        why = _fault(field, answered, places)
        if not why:
            return answered
        print(printable(without_url_secrets(why)), file=sys.stderr)
        value = ""


def _fault(field: str, answers: Answers, places: TerminalPaths) -> str:
    """Why the answer to this question is refused; empty: accepted. The other values count as answered."""
    from agent.config import Config
    from agent.config.profile import risks
    from agent.root.judge import judged

    if not getattr(answers, field) and field not in _MAY_BE_EMPTY:
        return beside(Text("prompt.required"))
    probe = replace(answers, accept=list(risks(Config())))
    for name in ("site", "terminal", "appid", "secret_id"):
        probe = _with(probe, name, getattr(answers, name) or "x")
    with tempfile.TemporaryDirectory(prefix="facepay-init-") as folder:
        candidate = Path(folder, "agent.toml")
        try:
            candidate.write_text(_text(probe, places), encoding="utf-8")
            judged(candidate, complete=True)
        except ConfigError as error:
            place = re.compile(
                rf"{re.escape(folder)}/[^:]+(?::\d+)?(?:: |\uff1a)"
            )  # a colon of each language
            told = dict.fromkeys(
                place.sub("", written(error.detail, locale), count=1) for locale in locales()
            )
            return " ".join(told) if next(iter(told)).startswith(_KEYS[field]) else ""
    return ""


def _with(known: Answers, field: str, value: str) -> Answers:
    changed: dict[str, Any] = {field: value}
    return replace(known, **changed)


def _text(answers: Answers, places: TerminalPaths) -> str:
    """The shipped config with the answers. Raises ``ConfigError``."""
    from agent.fleet.template import fill

    return fill(config_file("agent.toml").read_text(encoding="utf-8"), values_of(answers, places))


def _found(field: str, known: Answers, value: str) -> Answers:
    """The answers with a value that this machine shows; an option has priority."""
    if not value or getattr(known, field):
        return known
    print(f"{beside(Text(f'prompt.{field}'))}: {printable(value)} ({beside(Text('prompt.found'))})")
    return _with(known, field, value)


def _camera_here() -> str:
    """The only USB camera of this machine as an answer; empty: none, or several, which are printed."""
    from agent.camera.v4l2.devices import Devices

    try:
        found = [f"v4l2:{device.name}" for device in Devices().cameras() if device.usb]
    except AgentError:
        return ""
    if len(found) > 1:
        print(beside(Text("prompt.several_cameras")))
        print("\n".join(f"  {printable(name)}" for name in found))
    return found[0] if len(found) == 1 else ""


def _account_here(api: str, places: TerminalPaths) -> dict[str, str]:
    """The example account, if the url is of the compare service of this machine, which has the account."""
    from agent.config.file import load
    from agent.core.hosts import is_loopback
    from agent.service.settings import ServiceConfig

    file = places.config.with_name("service.toml")
    try:
        parts = urlsplit(api)
        service = load(file if file.exists() else config_file("service.toml"), ServiceConfig)
        if not is_loopback(parts.hostname or "") or parts.port != service.port:
            return {}
    except (ValueError, ConfigError):
        return {}
    for account in service.accounts:
        if account.example:
            bucket = next(iter(account.buckets), "")
            return {"appid": account.appid, "bucket": bucket, "secret_id": account.secret_id}
    return {}
