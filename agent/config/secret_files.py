"""Files that hold a secret must be nobody else's: looked at when the agent starts, before one is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent.config import Config
from agent.errors import ConfigError
from agent.texts import Text


def secret_files(config: Config) -> dict[str, Path]:
    """Every file of this config that holds a secret, by the key that names it."""
    named = {
        "compare.secret_key_file": config.compare.secret_key_file,
        "mqtt.password_file": config.mqtt.password_file,
        "mqtt.key_file": config.mqtt.key_file,
        "page.token_file": config.page.token_file,
        "page.key_file": config.page.key_file,
    }
    return {key: path for key, path in named.items() if path is not None}


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
        fix=Text("fix.run_change_secret", remedy=remedy, path=path),
    )
