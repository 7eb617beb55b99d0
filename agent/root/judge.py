"""Whether a config may run: one judgement for run, reload, ``config check``, init, rollouts and doctor.

``check_rules`` is what ``serve`` refuses before anything is made. ``check_parts`` makes, and throws away, the
same parts as ``serve``, with the same functions, so the two cannot drift apart. Part of the root.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from agent.config import Config, MqttConfig
from agent.config.file import line_of, load, text_of
from agent.config.profile import check_profile
from agent.config.secret_files import Kept, check_secret_files, check_state_directory, kept, secret_files
from agent.errors import ConfigError
from agent.texts import Text

_PLACEHOLDERS = {"site": "site", "terminal": "terminal"}  # of config/agent.toml
_KEY = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)*")


def judged(path: Path, *, complete: bool = False, here: bool = True) -> Config:
    """The config of a file that may run.

    ``complete``: with everything that ``serve`` makes of it, and with the files of the secrets. ``here``: it
    is for this machine; else neither its files nor its placeholders are judged.

    Raises:
        ConfigError: it may not; ``file:line: key: why``, with a fix.
    """
    config = load(path, Config)
    try:
        check_profile(config)
        if here:
            check_rules(config)
        if complete:
            check_parts(config, here=here)
        if complete and here:
            check_secrets(config)
    except ConfigError as error:
        raise located(error, path) from error
    return config


def check_rules(config: Config) -> None:
    """What needs no part to be made: profile, placeholders, files that other users can reach.

    Raises:
        ConfigError: starts with the key.
    """
    check_profile(config)
    check_secret_files(config)
    check_state_directory(config)
    if config.profile == "shop":
        _check_placeholders(config)


def check_parts(config: Config, *, here: bool = True) -> None:
    """Make what ``serve`` makes of the config, without starting it. Raises ``ConfigError``."""
    from agent.compare.transport import open_client
    from agent.mqtt.paho_client import trust
    from agent.root.wiring import BootClock, make_compare

    section = config.compare if here else config.compare.model_copy(update={"ca_file": None})
    asyncio.run(make_compare(config.model_copy(update={"compare": section}), BootClock()).close())
    if not here:
        return
    asyncio.run(open_client(config.compare.url, config.compare.ca_file).aclose())
    if config.mqtt.tls:
        trust(_without_unseen_key(config.mqtt))
    _check_camera(config)


def _without_unseen_key(mqtt: MqttConfig) -> MqttConfig:
    """A key that systemd hands to the service alone is judged by the service."""
    if mqtt.key_file is None or kept(mqtt.key_file)[0] is not Kept.UNSEEN:
        return mqtt
    return mqtt.model_copy(update={"cert_file": None, "key_file": None})


def check_secrets(config: Config) -> None:
    """Each secret is there, unless this user may not see it. A serving agent reports one that is missing.

    Raises:
        ConfigError: ``secret_missing``; starts with the key.
    """
    for key, file in secret_files(config).items():
        state, why = kept(file)
        if state is Kept.LACKING:
            raise ConfigError(
                f"{key}: {file}: {why}",
                code="secret_missing",
                fix=Text("fix.put_secret_into_file", key_=key),
            )


def located(error: ConfigError, path: Path) -> ConfigError:
    """The same error with ``file:line`` in front, where its message starts with a key of the file."""
    message = str(error)
    found = _KEY.match(message)
    if message.startswith(str(path)) or found is None:
        return error
    loc = tuple(found[0].split("."))
    line = line_of(text_of(path), loc) or line_of(text_of(path), loc[:1])
    where = f"{path}:{line}" if line else f"{path}"
    return ConfigError(f"{where}: {message}", code=error.code, fix=error.fix)


def _check_camera(config: Config) -> None:
    """Kind, scene, film and stream address. Opens no device: a missing device is no fault of the config."""
    from agent.config.tls_files import client_context
    from agent.root.cameras import make_camera
    from agent.root.wiring import BootClock

    make_camera(config.camera, BootClock())
    if config.camera.ca_file is not None:
        client_context("camera.ca_file", config.camera.ca_file)


def _check_placeholders(config: Config) -> None:
    for key, placeholder in _PLACEHOLDERS.items():
        if getattr(config, key) == placeholder:
            raise ConfigError(
                f"{key}: still the placeholder {placeholder!r} of the shipped file",
                fix=Text("fix.set_site_terminal"),
            )
