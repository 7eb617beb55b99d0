"""The prompts of `facepay init`: for each value without an option that this machine does not show.

An answer is accepted only if a config with it passes the check of `facepay config check`.
"""

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

from agent.cli.init_answers import INLINE, Answers, check_camera_argument, values_of
from agent.errors import AgentError, ConfigError
from agent.log import printable, without_url_secrets
from agent.resources import config_file
from agent.texts import Text, as_str, on_one_line, printed_locales

if TYPE_CHECKING:
    from agent.fleet.terminal_paths import TerminalPaths

_API = "http://127.0.0.1:8100/face/compare"
_PI = Path("/proc/device-tree/model")

# field of Answers -> the starts of the messages that refuse its answer
_MESSAGE_STARTS = {
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
_MAY_BE_EMPTY = ("bucket",)


def answered_by_prompts(given: Answers, paths: TerminalPaths) -> Answers:
    """The answers, with a prompt for each value without an option. Raises ``ConfigError``."""
    from agent.fleet import machine

    check_camera_argument(given.camera)
    known = _found("terminal", given, machine.terminal_id())
    known = _question("site", known, "", paths)
    known = _question("terminal", known, "", paths)
    known = _question("broker", known, "mqtts://127.0.0.1:8883", paths)
    known = _question("api", known, _API, paths)
    for field, value in _account_here(known.api, paths).items():
        known = _found(field, known, value)
    for field in ("appid", "bucket", "secret_id"):
        known = _question(field, known, "", paths)
    known = _found("camera", known, _camera_here())
    known = _question("camera", known, "picamera2" if _PI.exists() else "v4l2", paths)
    return _question("photos", known, "", paths)


def with_accepted_risks(answers: Answers, paths: TerminalPaths) -> Answers:
    """The answers with each risk that the profile refuses and the user accepts at a prompt.

    Raises ``ConfigError`` (``risk_not_accepted``): a risk is not accepted.
    """
    from agent.config import Config
    from agent.config.profile import risks_of

    try:
        config = Config.model_validate(tomllib.loads(_text(answers, paths)))
    except ValueError:
        return answers  # loading the file reports the error with its line
    accepted = answers.accept or []
    if config.profile == "demo":
        return answers
    answered = dict[str, bool]()
    for name in (name for name, holds in risks_of(config).items() if holds and name not in accepted):
        print(on_one_line(Text(f"risk.{name}")))
        answered[name] = typer.confirm(on_one_line(Text("prompt.risk", risk=name)))
    if refused := ", ".join(name for name, accepts in answered.items() if not accepts):
        raise ConfigError(Text("detail.risk_not_accepted", risks=refused), code="risk_not_accepted")
    return replace(answers, accept=[*accepted, *answered])


def _question(field: str, known: Answers, default: str, paths: TerminalPaths) -> Answers:
    """Prompt until the check of a config accepts the answer. An option is checked in the same way."""
    value = str(getattr(known, field))
    while True:
        if not value:
            title = on_one_line(Text(f"prompt.{field}"))
            value = str(typer.prompt(title, default=default, show_default=bool(default))).strip()
        answered = _with(known, field, value)
        why = _fault(field, answered, paths)
        if not why:
            return answered
        print(printable(without_url_secrets(why)), file=sys.stderr)
        value = ""


def _fault(field: str, answers: Answers, paths: TerminalPaths) -> str:
    """Why the answer for this field is refused; empty: accepted. Placeholders fill the other fields."""
    from agent.config import Config
    from agent.config.profile import risks_of
    from agent.root.judge import load_runnable_config

    if not getattr(answers, field) and field not in _MAY_BE_EMPTY:
        return on_one_line(Text("prompt.required"))
    probe = replace(answers, accept=list(risks_of(Config())))
    for name in ("site", "terminal", "appid", "secret_id"):
        probe = _with(probe, name, getattr(answers, name) or "x")
    if field != "photos":
        probe = replace(probe, photos=answers.photos or INLINE)
    with tempfile.TemporaryDirectory(prefix="facepay-init-") as folder:
        candidate = Path(folder, "agent.toml")
        try:
            candidate.write_text(_text(probe, paths), encoding="utf-8")
            load_runnable_config(candidate, with_parts=True)
        except ConfigError as error:
            why = without_place(error.detail, candidate)
            reasons = dict.fromkeys(as_str(why, locale) for locale in printed_locales())
            return " ".join(reasons) if next(iter(reasons)).startswith(_MESSAGE_STARTS[field]) else ""
    return ""


def without_place(detail: Text | str, file: Path) -> Text | str:
    """The detail of an error without ``file:line`` at its start: this file is deleted after its check."""
    if not isinstance(detail, Text) or detail.key != "detail.at":
        return detail
    place, reason = str(detail.facts["place"]), detail.facts["reason"]
    key = re.sub(rf"^{re.escape(str(file))}(?::\d+)?(?:: )?", "", place)
    return Text("detail.at", place=key, reason=reason) if key or not isinstance(reason, Text) else reason


def _with(known: Answers, field: str, value: str) -> Answers:
    changed: dict[str, Any] = {field: value}
    return replace(known, **changed)


def _text(answers: Answers, paths: TerminalPaths) -> str:
    """The shipped config with the answers. Raises ``ConfigError``."""
    from agent.fleet.toml_edit import set_values

    return set_values(config_file("agent.toml").read_text(encoding="utf-8"), values_of(answers, paths))


def _found(field: str, known: Answers, value: str) -> Answers:
    """The answers with a value that this machine shows; an option has priority."""
    if not value or getattr(known, field):
        return known
    print(f"{on_one_line(Text(f'prompt.{field}'))}: {printable(value)} ({on_one_line(Text('prompt.found'))})")
    return _with(known, field, value)


def _camera_here() -> str:
    """The only USB camera of this machine as an answer; empty: none, or several, which are printed."""
    from agent.camera.v4l2.devices import Devices

    try:
        found = [f"v4l2:{device.name}" for device in Devices().cameras() if device.is_usb]
    except AgentError:
        return ""
    if len(found) > 1:
        print(on_one_line(Text("prompt.several_cameras")))
        print("\n".join(f"  {printable(name)}" for name in found))
    return found[0] if len(found) == 1 else ""


def _account_here(api: str, paths: TerminalPaths) -> dict[str, str]:
    """The example account, if the url is of the compare service of this machine, which has the account."""
    from agent.config.file import load
    from agent.core.hosts import is_loopback
    from agent.service.settings import ServiceConfig

    file = paths.config.with_name("service.toml")
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
