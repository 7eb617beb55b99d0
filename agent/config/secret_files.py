"""The secrets of a config: their files, what may be shown, and which other users can read or replace them.

The agent checks them at its start, before it reads a secret.
"""

import contextlib
import hashlib
import os
import pwd
import stat
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from agent.config import Config
from agent.config.file import BYTE_ORDER_MARKS, Secret, Section, origin, read_layers
from agent.errors import ConfigError, reason_of
from agent.log import whole_url_without_secrets
from agent.safe_open import file_stamp, read_plain
from agent.texts import Text

SERVICE_USER = "facepay"  # systemd/facepay.sysusers
_CREDENTIALS = Path("/run/credentials")
_MAX_BYTES = 1_000_000
_S = TypeVar("_S", bound=Section)
_PUBLIC = ("ca_file", "cert_file")
_READ_AT_START = (
    ("compare", "secret_key_file"),
    ("compare", "ca_file"),
    ("camera", "source_file"),
    ("page", "token_file"),
    ("page", "cert_file"),
    ("page", "key_file"),
)


def secret_files(config: Config) -> dict[str, Path]:
    """Every secret file of this config, by its config key. Derived from the marks."""
    return {key: path for key, path in marked_fields(config, Secret.FILE).items() if isinstance(path, Path)}


def secret_urls(config: Config) -> dict[str, str]:
    """Every address of this config that can contain a user, password or token, by its config key."""
    return {
        key: url for key, url in marked_fields(config, Secret.URL).items() if isinstance(url, str) and url
    }


def marked_fields(section: Section, mark: Secret, where: str = "") -> dict[str, object]:
    """The values of the fields with ``mark``, by ``section.key``, without unset fields."""
    values = dict[str, object]()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            values |= marked_fields(value, mark, f"{where}{name}.")
        elif mark in field.metadata and value is not None:
            values[f"{where}{name}"] = value
    return values


def without_secrets(config: Config) -> dict[str, Any]:
    """The config as plain values for JSON, without secrets: user, password and query of urls are removed."""
    tree = config.model_dump(mode="json")
    for key, url in secret_urls(config).items():
        *sections, name = key.split(".")
        inner = tree
        for each in sections:
            inner = inner[each]
        inner[name] = whole_url_without_secrets(url)
    return tree


def keys_with_secret(config: Config) -> list[str]:
    """The keys whose value in the config file is a secret, not only the name of a secret file."""
    return [key for key, url in secret_urls(config).items() if whole_url_without_secrets(url) != url]


class SecretState(StrEnum):
    """Whether this user can use a secret file."""

    READABLE = "readable"
    SERVICE_ONLY = "service_only"  # not readable for this user
    UNUSABLE = "unusable"  # for every user: missing, empty or too large


def secret_state(path: Path) -> tuple[SecretState, str | Text]:
    """The state of a secret file, and the reason if it is unusable."""
    try:
        content = read_plain(path, _MAX_BYTES, links=True)
        if content.startswith(BYTE_ORDER_MARKS):
            return SecretState.UNUSABLE, Text("detail.bom")
        return (
            (SecretState.READABLE, "") if content.strip() else (SecretState.UNUSABLE, Text("detail.is_empty"))
        )
    except PermissionError:
        return SecretState.SERVICE_ONLY, ""
    except OSError as error:
        if isinstance(error, FileNotFoundError) and is_credential(path):
            return SecretState.SERVICE_ONLY, ""
        return SecretState.UNUSABLE, reason_of(error)


def is_credential(path: Path) -> bool:
    """Whether systemd passes the file to the service: it exists only while the service is running."""
    return path.is_relative_to(_CREDENTIALS)


def files_at_start(config: Config) -> dict[str, Path]:
    """The files that the agent reads once, by config key, without credentials of systemd.

    A credential stays the same until the next start. The files of [mqtt] are read for each connection.
    """
    paths = {f"{section}.{name}": getattr(getattr(config, section), name) for section, name in _READ_AT_START}
    return {key: path for key, path in paths.items() if path is not None and not is_credential(path)}


def file_stamps(config: Config) -> dict[str, str]:
    """A stamp of each of these files: 16 hex digits; empty: no file. Without files of another user.

    Of a public file, the stamp is a digest of the content: a tool may write the same content again. Of a
    secret file it depends on inode and time only, because the status document contains the stamps.
    """
    found = dict[str, str]()
    for key, path in files_at_start(config).items():
        try:
            if key.endswith(_PUBLIC):
                content = read_plain(path, _MAX_BYTES, links=True)
            else:
                content = repr(file_stamp(path, links=True)[:2]).encode()
        except PermissionError:
            continue
        except OSError:
            found[key] = ""
        else:
            found[key] = hashlib.sha256(content).hexdigest()[:16]
    return found


def with_credential_sources(config: Config, sources: Mapping[str, Path]) -> Config:
    """The config with the source file in place of each credential that does not exist now.

    Args:
        sources: the name of a credential → the file from which systemd makes the credential.
    """
    for key, path in secret_files(config).items():
        if is_credential(path) and not path.exists() and path.name in sources:
            config = _replaced(config, key.split("."), sources[path.name])
    return config


def _replaced(section: _S, names: list[str], value: object) -> _S:
    first, *rest = names
    inner = _replaced(getattr(section, first), rest, value) if rest else value
    return section.model_copy(update={first: inner})


def check_secret_files(config: Config) -> None:
    """Refuse secret files that every user of the machine can read, or that another user can replace.

    The allowed owners are root, this user, and for root the service user of the package. A missing or
    unreadable file is not refused. Profile ``demo`` has no secrets that need protection. Raises
    ``ConfigError`` (``secret_exposed``); the message names key and file.
    """
    if config.profile == "demo":
        return
    for key, path in secret_files(config).items():
        try:
            file_stat = path.stat()
        except OSError:
            continue
        if file_stat.st_mode & stat.S_IRWXO:
            mode = stat.S_IMODE(file_stat.st_mode)
            _refuse(key, path, Text("detail.secret_mode", mode=mode), "chmod o=")
        if file_stat.st_uid not in _own_users():
            _refuse(key, path, Text("detail.secret_owner", owner=file_stat.st_uid), "chown root")


def check_state_directory(config: Config) -> None:
    """Refuse a state directory in which another user can replace the signing key or the outbox.

    A directory that does not exist, or that this user may not read, is not refused; a file in its place is.
    Raises ``ConfigError`` (``state_exposed``, ``config_invalid``); the message names key and directory.
    """
    directory = config.storage.directory
    try:
        if file := _file_in_path(directory):
            why, fix = Text("detail.not_a_directory", path=file), Text("fix.storage_not_a_directory")
            raise ConfigError(why, fix=fix)
        directory_stat = directory.stat()
    except OSError:
        return
    if config.profile == "demo":
        return
    mode = stat.S_IMODE(directory_stat.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = Text("detail.state_mode_group", group=directory_stat.st_gid, mode=mode)
        if mode & stat.S_IWOTH:
            why = Text("detail.state_mode_other", mode=mode)
        _refuse_state(directory, why, "chmod 700")
    if directory_stat.st_uid not in _own_users():
        owner = SERVICE_USER if os.geteuid() == 0 else str(os.geteuid())
        _refuse_state(directory, Text("detail.belongs_to", owner=directory_stat.st_uid), f"chown -R {owner}")


def _file_in_path(directory: Path) -> Path | None:
    """The file that stands at the path of the directory or above it; None: only directories."""
    lowest = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    return None if lowest.is_dir() else lowest


def exposed_config(config: Config, path: Path) -> tuple[Path, Text] | None:
    """A file of the config that contains a secret and that every user can read, and the warning; or None."""
    try:
        files = read_layers(path)
    except ConfigError:
        return None
    for key in keys_with_secret(config):
        file = origin(files, tuple(key.split("."))).path
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue
        if mode & stat.S_IROTH:
            shown = f"{mode:04o}"
            return file, Text("cli.exposed_config", file=file, key_=key, mode=shown)
    return None


def _own_users() -> set[int]:
    """Root, the user of this process, and for root also the service user of the package."""
    users = {0, os.geteuid()}
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            users.add(pwd.getpwnam(SERVICE_USER).pw_uid)
    return users


def _refuse_state(directory: Path, why: Text, remedy: str) -> NoReturn:
    fix = Text("fix.state_directory_exposed", remedy=remedy, directory=directory)
    why = Text("detail.at", place=f"storage.directory: {directory}", reason=why)
    raise ConfigError(why, code="state_exposed", fix=fix)


def _refuse(key: str, path: Path, why: Text, remedy: str) -> NoReturn:
    fix = Text("fix.secret_file_exposed", remedy=remedy, path=path)
    why = Text("detail.at", place=f"{key}: {path}", reason=why)
    raise ConfigError(why, code="secret_exposed", fix=fix)
