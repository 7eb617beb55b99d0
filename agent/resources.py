"""Paths of the files that ship with the package, in an installed wheel and in a source tree."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent


def data(name: str) -> Path:
    """Path of a file or folder under ``agent/data``, e.g. ``photos`` or ``messages/en.toml``."""
    return _PACKAGE / "data" / name


def config_file(name: str) -> Path:
    """Path of a shipped config default. The wheel contains ``config/`` as ``agent/data/config``."""
    installed = _PACKAGE / "data" / "config" / name
    return installed if installed.exists() else _PACKAGE.parent / "config" / name


def package_file(package: str, relative: str) -> Path | None:
    """Path of a data file in another installed package, or None. Does not import that package."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / relative
        if path.is_file():
            return path
    return None
