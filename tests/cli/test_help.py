"""Every command has a panel, a line of help and an example of the command itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from agent.cli.command_table import DEVELOPERS, ENGINEERS, OPERATORS, TRY, application

PLAIN = {"NO_COLOR": "1", "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
ROOT: Any = typer.main.get_command(application())


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, command) of every group and command below ``facepay``."""
    for name, each in getattr(command, "commands", {}).items():
        yield (*path, name), each
        yield from walk(each, (*path, name))


TREE = list(walk(ROOT))


@cache
def help_of(words: tuple[str, ...]) -> Result:
    """What ``--help`` of a command prints; drawn once for all tests."""
    return CliRunner().invoke(application(), [*words, "--help"], env=PLAIN)


@pytest.mark.parametrize("words", [words for words, _ in TREE], ids=" ".join)
def test_every_command_explains_itself_with_an_example_of_itself(words: tuple[str, ...]) -> None:
    shown = help_of(words)
    assert shown.exit_code == 0, shown.output
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", shown.output).split())
    _, marker, example = text.rpartition("Example: ")
    assert marker, "give it one: epilog='Example:  facepay …'"
    typed = words[:-1] if words == ("compare", "photos") else words  # what `compare` does by itself
    assert example.startswith(f"facepay {' '.join(typed)}"), f"shows another command: {example[:60]}"
    assert "\x1b" not in shown.output


@pytest.mark.parametrize(("words", "command"), [each for each in TREE if len(each[0]) == 1])
def test_every_command_has_a_panel_and_a_line_of_help(words: tuple[str, ...], command: Any) -> None:
    assert command.rich_help_panel in {TRY, OPERATORS, ENGINEERS, DEVELOPERS}, "rich_help_panel=…"
    line = command.get_short_help_str(1_000)
    assert 10 < len(line) <= 82, f"short_help=… of one line, not: {line}"


def test_every_option_has_a_help_text() -> None:
    silent = [
        f"facepay {' '.join(words)} {option.opts[-1]}"
        for words, command in TREE
        for option in command.params
        if not getattr(option, "help", None)
    ]
    assert not silent


def test_the_front_page_of_the_command_line_fits_a_screen() -> None:
    wide = PLAIN | {"COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    command = [sys.executable, "-m", "agent.cli", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=wide)
    lines = done.stdout.splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) <= 100
    places = [done.stdout.index(panel) for panel in (TRY, OPERATORS, ENGINEERS, DEVELOPERS)]
    assert places == sorted(places)


@pytest.mark.parametrize(("words", "command"), TREE, ids=[" ".join(words) for words, _ in TREE])
def test_help_keeps_texts_in_brackets(words: tuple[str, ...], command: Any) -> None:
    shown = help_of(words).output
    texts = [
        command.help or "",
        command.epilog or "",
        *(getattr(each, "help", "") for each in command.params),
    ]
    for word in re.findall(r"\[[^\]\s]+\]", " ".join(text or "" for text in texts)):
        assert word in shown


def test_help_of_demo_has_a_text_in_brackets() -> None:
    (demo,) = [command for words, command in TREE if words == ("demo",)]
    assert "[vision]" in demo.help


@pytest.mark.parametrize(("words", "command"), TREE, ids=[" ".join(words) for words, _ in TREE])
def test_no_help_has_code_of_a_language(words: tuple[str, ...], command: Any) -> None:
    """The package has few lexers of Pygments: the help of such a command would be an exception there."""
    texts = [command.help, command.epilog, *(getattr(each, "help", None) for each in command.params)]
    assert [text for text in texts if text and re.search(r"(```|~~~)\s*\w", text)] == [], words
