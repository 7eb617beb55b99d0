"""Files that hold a secret must be nobody else's: looked at when the agent starts, before one is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.config.file import Secret, Section
from agent.errors import ConfigError
from agent.log import without_url_secrets


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
        inner[name] = without_url_secrets(url)
    return tree


def holds_secret(config: Config) -> list[str]:
    """The keys whose value in the config file itself carries a secret, not only the name of its file."""
    return [key for key, url in secret_urls(config).items() if without_url_secrets(url) != url]


def check_secret_files(config: Config) -> None:
    """Refuse secrets that everybody on the machine can read, or that somebody else can replace.

    A file that is missing or unreadable is not refused here: whoever needs it says so, and the terminal
    serves what it can. Profile ``demo`` has no secrets worth the name.

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
            _refuse(
                key,
                path,
                f"everybody may read or change it (mode {stat.S_IMODE(found.st_mode):04o})",
                "chmod o=",
            )
        if found.st_uid not in (0, os.geteuid()):
            _refuse(key, path, f"it belongs to user {found.st_uid}, who can replace it", "chown root")


def _refuse(key: str, path: Path, why: str, remedy: str) -> None:
    raise ConfigError(
        f"{key}: {path}: {why}",
        code="secret_exposed",
        fix=f"Run `{remedy} {path}`; change the secret if it was seen.",
        fix_zh=f"请执行 `{remedy} {path}`；如密钥可能已泄露，请更换。",
    )
