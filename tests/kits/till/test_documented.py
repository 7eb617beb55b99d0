"""Every till command that the documentation shows is one that this program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.cli import app

ROOT = Path(__file__).parent.parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# at the start of a line of a shell, or whole between backticks, with at least one argument after the command
_SHOWN = re.compile(r"^\$ (facepay (?:till|diag) .+)$|`(facepay (?:till|diag) \w+ [^`…]+)`", re.MULTILINE)


def shown() -> list[str]:
    found = [match for page in PAGES for match in _SHOWN.findall(page.read_text(encoding="utf-8"))]
    return sorted({(line or quoted).removesuffix("&").strip() for line, quoted in found})


@pytest.mark.parametrize("line", shown())
def test_a_command_as_it_is_shown_is_taken(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(line, words)  # raises where an option or an argument is not taken
    assert context.params


def test_the_documentation_shows_the_commands_that_are_looked_for() -> None:
    assert {line.split()[2] for line in shown()} >= {
        "ask",
        "watch",
        "simulate",
        "conformance",
        "verify",
        "ack",
        "load",
    }
