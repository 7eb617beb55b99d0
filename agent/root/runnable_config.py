"""Whether a config may run: one decision for run, reload, ``config check``, init, rollouts and doctor.

``check_rules``: the rules that ``serve`` applies before it makes a part. ``check_parts`` makes the same parts
as ``serve`` with the same functions and discards them, so both accept the same configs. Part of the root.
"""

import re
from pathlib import Path

from agent import event_loop
from agent.config import Config
from agent.config import secret_files as secrets
from agent.config.combinations import check_combinations
from agent.config.file import load, place_of, read_layers
from agent.config.profile import accepts_photos, check_profile, requires_signatures
from agent.config.secret_files import SecretState, secret_state
from agent.errors import ConfigError
from agent.texts import Text
from agent.toml_layers import layers

_PLACEHOLDERS = {"site": "site", "terminal": "terminal"}  # of config/agent.toml
_KEY = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)*")


def load_runnable_config(path: Path, *, with_parts: bool = False, is_local: bool = True) -> Config:
    """Read a config file and check that an agent may run with it.

    ``with_parts``: check the parts that ``serve`` makes, and the files of the secrets, too. ``is_local``: the
    config is for this machine; otherwise its files and placeholders are not checked. Raises ``ConfigError``:
    the config may not run; ``file:line: key: why``, with a fix.
    """
    config = load(path, Config)
    try:
        check_values(config)
        if is_local:
            check_rules(config)
        if with_parts:
            check_parts(config, is_local=is_local)
        if with_parts and is_local:
            check_secrets(config)
    except ConfigError as error:
        raise with_location(error, path) from error
    return config


def check_values(config: Config) -> None:
    """Check what holds on every machine: profile, combinations of values, and that a photo is accepted.

    Raises ``ConfigError``: the message starts with the key.
    """
    check_profile(config)
    check_combinations(config)
    check_photos(config)


def check_rules(config: Config) -> None:
    """Check the values, placeholders, and files that other users can read or replace. Makes no part.

    Raises ``ConfigError``: the message starts with the key.
    """
    check_values(config)
    secrets.check_secret_files(config)
    secrets.check_state_directory(config)
    check_placeholders(config)


def check_parts(config: Config, *, is_local: bool = True) -> None:
    """Make the parts that ``serve`` makes, without a start. An unplugged camera is not a config error.

    Raises ``ConfigError``: the message starts with the key.
    """
    from agent.compare.transport import open_client
    from agent.config.tls_files import client_context
    from agent.mqtt.paho_client import tls_context
    from agent.root.cameras import make_camera
    from agent.root.wiring import BootClock, make_compare

    section = config.compare if is_local else config.compare.model_copy(update={"ca_file": None})
    event_loop.run(make_compare(config.model_copy(update={"compare": section}), BootClock()).close())
    if not is_local:
        return
    event_loop.run(open_client(config.compare.url, config.compare.ca_file).aclose())
    if config.mqtt.tls:
        key = config.mqtt.key_file
        is_checked_by_service = key is not None and secret_state(key)[0] is SecretState.SERVICE_ONLY
        without_pair = {"cert_file": None, "key_file": None} if is_checked_by_service else {}
        tls_context(config.mqtt.model_copy(update=without_pair))
    make_camera(config.camera, BootClock())
    if config.camera.ca_file is not None:
        client_context("camera.ca_file", config.camera.ca_file)


def check_secrets(config: Config) -> None:
    """Check that each secret exists. A secret that this user may not read is not checked.

    Not part of ``check_rules``: a serving agent reports a missing secret as a condition. Raises
    ``ConfigError`` (``secret_missing``); the message starts with the key.
    """
    for key, file in secrets.secret_files(config).items():
        state, why = secret_state(file)
        if state is SecretState.UNUSABLE:
            fix = Text("fix.secret_file_missing", key_=key)
            raise ConfigError(
                Text("detail.at", place=f"{key}: {file}", reason=why), code="secret_missing", fix=fix
            )


def lacks_till_key(config: Config) -> bool:
    """Whether every request must be signed and no till has a usable key.

    False without a state directory (the agent has not run here), and where this user may not read it.
    """
    from agent.messages.keyring import Keyring

    directory = config.storage.directory
    try:
        needs_key = requires_signatures(config) and directory.is_dir()
        return needs_key and not any(Keyring(directory).usable().values())
    except OSError:
        return False


def with_location(error: ConfigError, path: Path) -> ConfigError:
    """The error with ``file:line`` in front, if its message starts with a key of the file."""
    message = str(error)
    match = _KEY.match(message)
    if match is None or any(message.startswith(str(file)) for file in layers(path)):
        return error
    where = place_of(read_layers(path), tuple(match[0].split(".")))
    return ConfigError(Text("detail.at", place=where, reason=error.detail), code=error.code, fix=error.fix)


def check_placeholders(config: Config) -> None:
    """Refuse the ids of the shipped file in profile shop. Raises ``ConfigError``."""
    for key, placeholder in _PLACEHOLDERS.items():
        if config.profile == "shop" and getattr(config, key) == placeholder:
            why = Text("detail.placeholder", key_=key, placeholder=placeholder)
            raise ConfigError(why, fix=Text("fix.set_site_and_terminal"))


def check_photos(config: Config) -> None:
    """Refuse a config of profile shop that accepts no enrolled photo. Raises ``ConfigError``."""
    if config.profile == "shop" and not accepts_photos(config):
        raise ConfigError(Text("detail.no_photos"), fix=Text("fix.no_photos"))
