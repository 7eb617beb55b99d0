"""Every relative link of the documents resolves: the file exists, and the page has the anchor's heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOP = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """Targets of the links of a page, without those inside code and without other hosts."""
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in _LINK.findall(text) if "://" not in target and "mailto:" not in target]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of the headings of a page, by the rule of the common forges."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found: list[str] = []
    for heading in _HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return frozenset(found)


def broken(page: Path, link: str) -> str:
    """Why a link does not resolve; empty when it does."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT):
        return f"{link}: outside the repository"
    if not target.exists():
        return f"{link}: no such file"
    if anchor and anchor not in anchors(target):
        return f"{link}: no such heading, there are {sorted(anchors(target))}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_resolve(page: Path) -> None:
    faults = [why for link in links(page) if (why := broken(page, link))]
    assert not faults, f"{name_of(page)}: {faults}"


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("docs/index.md", ""),
        ("docs/reference/cli.md#exit-codes", ""),
        ("docs/reference/cli.md#no-such-part", "no such heading"),
        ("docs/nothing.md", "no such file"),
        ("../elsewhere.md", "outside the repository"),
    ],
)
def test_a_broken_link_is_named(link: str, why: str) -> None:
    assert why in broken(ROOT / "README.md", link)
    assert bool(broken(ROOT / "README.md", link)) == bool(why)


def test_every_page_is_reachable_from_the_index() -> None:
    todo, seen = [ROOT / "docs" / "index.md"], set[Path]()
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    missing = set((ROOT / "docs").rglob("*.md")) - seen
    assert not missing, f"docs/index.md leads to none of {sorted(map(name_of, missing))}"


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page) if "#" not in link}
    pictures = set((ROOT / "docs" / "images").iterdir())
    assert not pictures - shown, f"no page shows {sorted(map(name_of, pictures - shown))}"
