"""Paths of the files that ship with the package, in an installed wheel and in a source tree."""

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parent
_PACKAGED_DOCUMENTS = Path("/usr/share/doc/facepay-agent")


def data(name: str) -> Path:
    """Path of a file or folder under ``agent/data``, e.g. ``photos`` or ``messages/en.toml``."""
    return _PACKAGE / "data" / name


def config_file(name: str) -> Path:
    """Path of a shipped config default. The wheel contains ``config/`` as ``agent/data/config``."""
    installed = _PACKAGE / "data" / "config" / name
    return installed if installed.exists() else _PACKAGE.parent / "config" / name


def documents() -> Path:
    """The folder that contains ``docs/``: the source tree, else that of the Debian package.

    ``Path()`` after `pip install`, which installs no documents: the path of a page in the repository.
    """
    folders = (_PACKAGE.parent, _PACKAGED_DOCUMENTS)
    return next((each for each in folders if (each / "docs" / "reference").is_dir()), Path())


def package_file(package: str, relative: str) -> Path | None:
    """Path of a data file in another installed package, or None. Does not import that package."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / relative
        if path.is_file():
            return path
    return None
