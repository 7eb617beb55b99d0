"""Hook of hatchling: wheel and source archive contain only files that are tracked by git."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from tracked import other_files, source_files, tracked_files


class OnlyTrackedFiles(BuildHookInterface):  # type: ignore[type-arg]
    """The wheel has ``config/`` as ``agent/data/config``; an editable installation has no copies.

    The hook gives hatchling the complete list of files: hatchling itself reads only the ``.gitignore`` of
    the root, not the other exclusions of git, and it follows symbolic links. Outside a checkout, hatchling
    itself selects the files of a source archive.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        if self.target_name == "wheel":
            files = {each: each for each in source_files(root, "agent")}
            files |= {each: f"agent/data/{each}" for each in source_files(root, "config")}
        elif (tracked := tracked_files(root)) is not None:
            files = {each: each for each in tracked}
        else:
            return
        if others := other_files(root):
            self.app.display_warning(f"not in the {self.target_name}, because not tracked by git: {others}")
        self.build_config.set_exclude_all()
        build_data["force_include"] = {str(root / source): target for source, target in files.items()}
