"""The documents in the package: README, docs/, config/, and every link between them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from environment import ROOT
from package_metadata import DOC
from tracked import source_files

PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
FOLDERS = ("docs", "config", "systemd")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(<?([^)\s>]+)>?\)")
_CODE = re.compile(r"(^ *(?:```|~~~).*?^ *(?:```|~~~)|`[^`\n]*`)", re.DOTALL | re.MULTILINE)


def copy(tree: Path, site: Path) -> None:
    """Copy the documents. ``agent`` is a link to the installed code, which the pages refer to.

    A link to a file that only the repository has becomes plain text.
    """
    target = tree / DOC
    target.mkdir(parents=True, exist_ok=True)
    (target / "agent").symlink_to(f"/{(site / 'agent').relative_to(tree)}")
    for name in PAGES:
        shutil.copyfile(ROOT / name, target / name)
    for name in source_files(ROOT, *FOLDERS):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)
    for page in (*target.glob("*.md"), *(target / "docs").rglob("*.md")):
        page.write_text(with_live_links(page, target, site), encoding="utf-8")


def with_live_links(page: Path, folder: Path, site: Path) -> str:
    """The text of a page without the links whose target is not in the package."""

    def kept(link: re.Match[str]) -> str:
        return link[0] if is_live(page, link[2], folder, site) else link[1]

    parts = _CODE.split(page.read_text(encoding="utf-8"))
    # a link may have code as its text: join the parts again before the links are replaced
    code = parts[1::2]
    marked = "".join(part if index % 2 == 0 else f"\0{index // 2}\0" for index, part in enumerate(parts))
    return re.sub(r"\0(\d+)\0", lambda mark: code[int(mark[1])], LINK.sub(kept, marked))


def is_live(page: Path, target: str, folder: Path, site: Path) -> bool:
    """Whether the package has the target: ``agent/…`` in ``site``. Other hosts are not checked."""
    path = target.partition("#")[0]
    if "://" in target or target.startswith("mailto:") or not path:
        return True
    place = os.path.relpath(os.path.normpath(page.parent / path), folder)
    if place.startswith(".."):
        return False
    return (site / place if place.startswith("agent/") else folder / place).exists()
