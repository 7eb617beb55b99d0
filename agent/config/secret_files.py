"""The secrets of a config: where they are, what of them may be shown, and who else can reach them.

Checked when the agent starts, before the first of them is read.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from agent.config import Config
from agent.config.file import Secret, Section
from agent.errors import ConfigError
from agent.log import whole_url_without_secrets
from agent.safe_open import read_plain
from agent.texts import Text

SERVICE_USER = "facepay"  # systemd/facepay.sysusers
_CREDENTIALS = Path("/run/credentials")
_MAX_BYTES = 1_000_000


def secret_files(config: Config) -> dict[str, Path]:
    """Every file of this config that holds a secret, by the key that names it. Derived from the marks."""
    return {key: path for key, path in marked(config, Secret.FILE).items() if isinstance(path, Path)}


def secret_urls(config: Config) -> dict[str, str]:
    """Every address of this config that can carry a user, a password or a token, by its key."""
    return {key: url for key, url in marked(config, Secret.URL).items() if isinstance(url, str) and url}


def marked(section: Section, mark: Secret, where: str = "") -> dict[str, object]:
    """The values of the fields that carry ``mark``, by ``section.key``; unset ones are left out."""
    found = dict[str, object]()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            found |= marked(value, mark, f"{where}{name}.")
        elif mark in field.metadata and value is not None:
            found[f"{where}{name}"] = value
    return found


def shown(config: Config) -> dict[str, Any]:
    """Every value in force as plain values for JSON, without a secret: addresses lose what can be one."""
    tree = config.model_dump(mode="json")
    for key, url in secret_urls(config).items():
        *sections, name = key.split(".")
        inner = tree
        for each in sections:
            inner = inner[each]
        inner[name] = whole_url_without_secrets(url)
    return tree


def holds_secret(config: Config) -> list[str]:
    """The keys whose value in the config file itself carries a secret, not only the name of its file."""
    return [key for key, url in secret_urls(config).items() if whole_url_without_secrets(url) != url]


class Kept(StrEnum):
    """How far this user can use a secret file."""

    READ = "read"
    UNSEEN = "only the service may read it"
    LACKING = "lacking"  # no user can use it


def kept(path: Path) -> tuple[Kept, str]:
    """The state of a secret file, with words for what is lacking."""
    try:
        return (
            (Kept.READ, "")
            if read_plain(path, _MAX_BYTES, links=True).strip()
            else (Kept.LACKING, "is empty")
        )
    except PermissionError:
        return Kept.UNSEEN, ""
    except OSError as error:
        handed_over = isinstance(error, FileNotFoundError) and is_credential(path)
        return (Kept.UNSEEN, "") if handed_over else (Kept.LACKING, error.strerror or type(error).__name__)


def is_credential(path: Path) -> bool:
    """Whether systemd hands the file to the service: it exists while that runs, for the service alone."""
    return path.is_relative_to(_CREDENTIALS)


def check_secret_files(config: Config) -> None:
    """Refuse secrets that every user of the machine can read, or that another user can replace.

    Judged for the service's user: as root, that is the user of the package where there is one. A file that is
    missing or unreadable is not refused here. Profile ``demo`` has no secrets worth protecting.

    Raises:
        ConfigError: ``secret_exposed``; names key and file.
    """
    if config.profile == "demo":
        return
    for key, path in secret_files(config).items():
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_mode & stat.S_IRWXO:
            mode = stat.S_IMODE(found.st_mode)
            _refuse(key, path, f"every user can read or change it (mode {mode:04o})", "chmod o=")
        if found.st_uid not in _own_users():
            _refuse(key, path, f"it belongs to user {found.st_uid}, who can replace it", "chown root")


def check_state_directory(config: Config) -> None:
    """Refuse a state directory in which another user can replace the signing key or the outbox.

    One that does not exist yet, or that this user may not look at, is not refused here.

    Raises:
        ConfigError: ``state_exposed``; names key and directory.
    """
    directory = config.storage.directory
    if config.profile == "demo":
        return
    try:
        found = directory.stat()
    except OSError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = "every user" if mode & stat.S_IWOTH else f"every member of group {found.st_gid}"
        _refuse_state(directory, f"{who} can replace the files in it (mode {mode:04o})", "chmod 700")
    if found.st_uid not in _own_users():
        _refuse_state(directory, f"it belongs to user {found.st_uid}", f"chown -R {_service_name()}")


def exposed_config(config: Config, path: Path) -> str:
    """Why the config file itself shows a secret to every user; empty when it does not."""
    keys = holds_secret(config)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    if not keys or not mode & stat.S_IROTH:
        return ""
    return f"{path} holds a secret ({', '.join(keys)}), and every user can read it (mode {mode:04o})"


def _own_users() -> set[int]:
    """Root, this process, and for root the user the package's service runs as."""
    users = {0, os.geteuid()}
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            users.add(pwd.getpwnam(SERVICE_USER).pw_uid)
    return users


def _service_name() -> str:
    return SERVICE_USER if os.geteuid() == 0 else str(os.geteuid())


def _refuse_state(directory: Path, why: str, remedy: str) -> NoReturn:
    raise ConfigError(
        f"storage.directory: {directory}: {why}",
        code="state_exposed",
        fix=Text("fix.run_then_pin", remedy=remedy, directory=directory),
    )


def _refuse(key: str, path: Path, why: str, remedy: str) -> NoReturn:
    raise ConfigError(
        f"{key}: {path}: {why}",
        code="secret_exposed",
        fix=Text("fix.run_change_secret", remedy=remedy, path=path),
    )
