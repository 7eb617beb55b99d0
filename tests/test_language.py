"""Plain technical English is kept by counting: words about persons, and names that are used twice.

The limits are those of the codebases this project is compared with. The words are counted in the package, the
tests, the documents and the message files, because engineers read all of them.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PERSONS = re.compile(r"\b(whoever|somebody|nobody|everybody|anybody|he|him|his)\b", re.IGNORECASE)
SPEECH = re.compile(r"\b(says|said|tells|told)\b", re.IGNORECASE)
PERSONS_PER_1000_LINES, SPEECH_PER_1000_LINES = 0.2, 0.5
PLACES = {
    "agent": ["agent/**/*.py", "agent/data/messages/en.toml", "agent/data/page/*"],
    "tests": ["tests/**/*.py"],
    "documents": ["*.md", "docs/**/*.md", "config/*"],
}
# An interface and its adapters share a name on purpose: a command, a check, the wiring and the control socket
# are named after what they show; a camera driver has the module names of the other drivers.
ADAPTERS = ("agent/cli/", "agent/diagnostics/checks/", "agent/root/", "agent/control/", "agent/camera/")
KITS = {"terminal", "images"}  # the kits' copies of a terminal and of images


def texts_of(place: str) -> dict[Path, str]:
    paths = {path for pattern in PLACES[place] for path in ROOT.glob(pattern) if path.is_file()}
    own = Path(__file__)
    return {path: path.read_text(encoding="utf-8") for path in sorted(paths) if path != own}


def rate(pattern: re.Pattern[str], texts: dict[Path, str]) -> tuple[float, list[str]]:
    """Uses per 1 000 lines, and where they stand."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        for _ in pattern.findall(line)
    ]
    lines = sum(text.count("\n") for text in texts.values())
    return 1_000 * len(found) / max(1, lines), found


@pytest.mark.parametrize("place", PLACES)
def test_texts_are_about_things_and_not_about_persons(place: str) -> None:
    for pattern, limit in ((PERSONS, PERSONS_PER_1000_LINES), (SPEECH, SPEECH_PER_1000_LINES)):
        used, found = rate(pattern, texts_of(place))
        assert used < limit, f"{used:.2f} per 1 000 lines, limit {limit}:\n" + "\n".join(found[:40])


def names(kind: str) -> dict[str, list[str]]:
    """Module or class names of the package, each with the files that define it."""
    defined: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "agent").rglob("*.py")):
        place = str(path.relative_to(ROOT))
        if kind == "module":
            if path.name != "__init__.py":
                defined[path.stem].append(place)
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(place)
    return defined


@pytest.mark.parametrize("kind", ["module", "class"])
def test_a_name_means_one_thing(kind: str) -> None:
    own = {
        name: [place for place in places if kind == "class" or not place.startswith(ADAPTERS)]
        for name, places in names(kind).items()
        if name not in KITS
    }
    assert {name: places for name, places in own.items() if len(places) > 1} == {}


def test_the_rules_find_what_they_are_for() -> None:
    used, found = rate(PERSONS, {ROOT / "x.md": "Nobody knows.\nThe broker answers.\n"})
    assert used == 500 and found == ["x.md:1: Nobody knows."]
