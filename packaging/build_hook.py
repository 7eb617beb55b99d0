"""Hook of hatchling: wheel and source archive have no file of the checkout that git does not have."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from tracked import other_files, source_files

_SPECIAL = re.compile(r"([\\*?\[\]!# ])")  # in patterns of .gitignore


class OnlyTrackedFiles(BuildHookInterface):  # type: ignore[type-arg]
    """The wheel has ``config/`` as ``agent/data/config``; an editable installation has no copies."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        others = other_files(root)
        if others:
            self.app.display_warning(f"not in the {self.target_name}, because git does not have it: {others}")
        excluded = self.build_config.target_config.setdefault("exclude", [])
        excluded += ["/" + _SPECIAL.sub(r"\\\1", each) for each in others]
        if self.target_name == "wheel" and version != "editable":
            configs = {each: f"agent/data/{each}" for each in source_files(root, "config")}
            build_data["force_include"] |= configs
