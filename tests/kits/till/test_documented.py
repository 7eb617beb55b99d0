"""Every till command in the documentation is a valid command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.cli.command_table import application

ROOT = Path(__file__).parent.parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A shell line, or a command with at least one argument between backticks.
_COMMAND = re.compile(r"^\$ (facepay (?:till|diag) .+)$|`(facepay (?:till|diag) \w+ [^`…]+)`", re.MULTILINE)


def documented_commands() -> list[str]:
    matches = [match for page in PAGES for match in _COMMAND.findall(page.read_text(encoding="utf-8"))]
    return sorted({(line or quoted).removesuffix("&").strip() for line, quoted in matches})


@pytest.mark.parametrize("line", documented_commands())
def test_a_documented_command_is_valid(line: str) -> None:
    command: Any = typer.main.get_command(application())
    arguments = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context = command.make_context(line, arguments)  # raises for an invalid option or argument
    assert context.params


def test_the_documentation_shows_every_till_command() -> None:
    assert {line.split()[2] for line in documented_commands()} >= {
        "ask",
        "watch",
        "simulate",
        "conformance",
        "verify",
        "ack",
        "load",
    }
