"""The files of one config, and their merged values. Standard library only: `facepay status` is fast.

The package ships ``agent.toml`` with every default. The keys of one terminal are in ``agent.d/*.toml`` beside
it, so that an upgrade replaces ``agent.toml`` without a prompt.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent.errors import ConfigError
from agent.texts import Text


def layers(path: Path) -> tuple[Path, ...]:
    """The files in the order of reading: ``NAME.toml``, then ``NAME.d/*.toml`` by name; no hidden file.

    Raises:
        ConfigError: ``config_folder_foreign``: another user can add files to the folder, e.g. in /tmp.
    """
    try:
        folder = path.with_suffix(".d")
        folder_stat = folder.stat()
    except (OSError, ValueError):  # no folder; "/" and "." have no name
        return (path,)
    owners = {0, os.geteuid()} | ({path.stat().st_uid} if path.exists() else set())
    if folder_stat.st_uid not in owners or folder_stat.st_mode & stat.S_IWOTH:
        raise ConfigError(Text("detail.folder_foreign", folder=folder), code="config_folder_foreign")
    files = folder.glob("*.toml")
    return (path, *sorted(file for file in files if not file.name.startswith(".")))


def trial_layer(path: Path) -> Path:
    """The file that `facepay init --try` adds to the config ``path``, after the files of the operator."""
    return path.with_suffix(".d") / "90-try.toml"


def merged(trees: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One tree; a later value wins. Tables are merged key by key, lists are replaced."""
    result = dict[str, Any]()
    for tree in trees:
        for key, value in tree.items():
            before = result.get(key)
            if isinstance(before, dict) and isinstance(value, dict):
                result[key] = merged((before, value))
            else:
                result[key] = value
    return result


def sets(tree: dict[str, Any], loc: tuple[str, ...]) -> bool:
    """Whether the tree has a value or a table at this place."""
    inner: Any = tree
    for key in loc:
        if not isinstance(inner, dict) or key not in inner:
            return False
        inner = inner[key]
    return True
