"""The state directory of a run in a temporary folder."""

from pathlib import Path

from agent.core.directories import PATH_MAX_BYTES, directory_fault, size_bytes
from agent.errors import ConfigError
from agent.texts import Text


def checked_directory(directory: Path) -> Path:
    """Raises ``ConfigError``: the path of the temporary folder is too long for the status socket."""
    if directory_fault(str(directory)):
        facts = {"size": size_bytes(str(directory)), "path_max": PATH_MAX_BYTES}
        raise ConfigError(Text("detail.directory_path_long", **facts), fix=Text("fix.temporary_folder_short"))
    return directory
