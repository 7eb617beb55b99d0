"""The documents of the package: every link of every page leads to a file of the package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import documents
import pytest
from environment import OPT
from package_metadata import DOC

from tests.debian import ROOT

_CODE = re.compile(r"^ *(```|~~~).*?^ *\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_TARGET = re.compile(r"\]\(<?([^)\s>]+)>?\)")  # of links and pictures


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the package with its documents and the code."""
    made = tmp_path_factory.mktemp("tree")
    site = made / OPT / "lib" / "python3.11" / "site-packages"
    shutil.copytree(ROOT / "agent", site / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    documents.copy(made, site)
    return made


def dead_links(tree: Path) -> list[str]:
    folder = tree / DOC
    (site,) = (tree / OPT / "lib").glob("python3*/site-packages")
    return [
        f"{page.relative_to(folder)}: {target}"
        for page in folder.rglob("*.md")
        for target in _TARGET.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
        if not documents.is_live(page, target, folder, site)
    ]


def test_no_link_of_a_shipped_page_is_dead(tree: Path) -> None:
    assert len(list((tree / DOC).rglob("*.md"))) > 40
    assert not dead_links(tree)


def test_a_dead_link_is_found(tree: Path) -> None:
    page = tree / DOC / "docs" / "index.md"
    before = page.read_text(encoding="utf-8")
    page.write_text(before + "\n[x](../tests/conftest.py) [y](no-such-page.md) [z](../../../../etc/passwd)\n")
    assert len(dead_links(tree)) == 3
    page.write_text(before, encoding="utf-8")


def test_the_links_of_the_readme_stay_links(tree: Path) -> None:
    readme = (tree / DOC / "README.md").read_text(encoding="utf-8")
    for target in ("docs/how-to/install.md", "config/agent.toml", "agent/kits/till/acceptance.py"):
        assert f"]({target})" in readme
    assert (tree / DOC / "docs" / "images" / "demo.svg").exists()


def test_a_link_to_a_file_of_the_repository_only_is_plain_text(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("[the `test` of it](tests/x.py), [self](a.md), `[code](no.md)`, ![picture](no.svg)\n")
    assert (
        documents.with_live_links(page, tmp_path, tmp_path)
        == "the `test` of it, [self](a.md), `[code](no.md)`, ![picture](no.svg)\n"
    )
