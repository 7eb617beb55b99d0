"""What `facepay init` is told, by flag or at a prompt, and the config that makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from agent.fleet.places import Places

_RISK = "Profile shop refuses {0}. Accept this risk? shop 模式拒绝 {0}，是否接受该风险？"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was given by flag or at a prompt; empty: the shipped value stays."""

    profile: str
    site: str
    terminal: str
    broker: str  # mqtts://host:port or mqtt://host:port
    api: str
    appid: str
    bucket: str
    secret_id: str
    camera: str  # kind, or kind:source
    storage: str
    accept: list[str]


def completed(given: Answers, *, ask: bool) -> Answers:
    """Prompts for what no flag gave. Without prompts only a site must be named."""
    from agent.errors import ConfigError
    from agent.fleet import machine

    if "@" in given.camera:
        raise ConfigError(
            "--camera: a password in an argument is seen by everybody on this machine",
            code="init_incomplete",
            fix="Leave --camera out to be asked for it, or put the address into the config file afterwards.",
            fix_zh="请不要使用 --camera，改为在提示时输入，或稍后写入配置文件。",
        )
    known = replace(given, terminal=given.terminal or machine.terminal_id())
    if not ask:
        if not (known.site and known.terminal):
            raise ConfigError(
                "--site, --terminal: who is this?",
                code="init_incomplete",
                fix="Name both by flag, or leave --yes out.",
                fix_zh="请用参数指定两者，或去掉 --yes。",
            )
        return known

    def prompt(title: str, value: str, default: str) -> str:
        return value or str(typer.prompt(title, default=default, show_default=bool(default)))

    return replace(
        known,
        site=prompt("Site 门店 (the shop's id)", known.site, ""),
        terminal=prompt("Terminal 终端 (this device's id)", given.terminal, known.terminal),
        broker=prompt("Broker MQTT 服务器", known.broker, "mqtts://127.0.0.1:8883"),
        api=prompt("Compare API 比对接口", known.api, "http://127.0.0.1:8100/face/compare"),
        appid=prompt("API appid 应用编号", known.appid, ""),
        bucket=prompt("API bucket 存储桶", known.bucket, ""),
        secret_id=prompt("API secret id 密钥编号", known.secret_id, ""),
        camera=prompt("Camera 摄像头, kind[:source]", known.camera, "picamera2"),
    )


def accepting(answers: Answers, places: Places) -> Answers:
    """Ask about each risk that the profile refuses. What is not accepted stays refused, and is named."""
    import tomllib

    from agent.config import Config
    from agent.config.profile import risks

    try:
        config = Config.model_validate(tomllib.loads(config_text(answers, places)))
    except ValueError:
        return answers  # loading the file says what is wrong, with its line
    taken = [name for name, holds in risks(config).items() if holds and name not in answers.accept]
    if config.profile == "demo":
        return answers
    more = [name for name in taken if typer.confirm(_RISK.format(name))]
    return replace(answers, accept=[*answers.accept, *more])


def config_text(answers: Answers, places: Places) -> str:
    """The shipped file with the answers in it. Raises ``ConfigError``."""
    from agent.fleet.template import Value, fill
    from agent.resources import config_file

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
        "accepted_risks": answers.accept,
        "compare.secret_key_file": places.named("secret-key"),
        **_broker(answers.broker),
        **{key: value for key, value in optional.items() if value},
    }
    return fill(config_file("agent.toml").read_text(encoding="utf-8"), values)


def _broker(url: str) -> dict[str, str | int | bool | list[str]]:
    from urllib.parse import urlsplit

    from agent.errors import ConfigError

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
