"""Where the files that ship with the package are: in an installed wheel and in a source tree alike."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent


def data(name: str) -> Path:
    """A file or folder under ``agent/data``, e.g. ``photos`` or ``locales/en.toml``."""
    return _PACKAGE / "data" / name


def config_file(name: str) -> Path:
    """A shipped config default. The wheel carries ``config/`` as ``agent/data/config``."""
    installed = _PACKAGE / "data" / "config" / name
    return installed if installed.exists() else _PACKAGE.parent / "config" / name


def package_file(package: str, relative: str) -> Path | None:
    """A data file of another installed package, found without importing that package's code."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / relative
        if path.is_file():
            return path
    return None
