"""The man page and the completions of the package, from the same command line that the package contains."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import completion
import manual
import pytest

COMMANDS = list(manual.all_commands())


def test_the_man_page_names_every_command_and_every_option() -> None:
    page = manual.man_page(COMMANDS, "0.0.0", 0).replace("\\-", "-")
    assert len(COMMANDS) > 30 and '.TH FACEPAY 1 "1970-01-01"' in page
    for words, command in COMMANDS[1:]:
        section = page.partition(f".SS facepay {words}")[2].partition("\n.SS")[0]
        assert section, words
        for option in command.params:
            if option.param_type_name == "option" and not option.hidden:
                assert option.opts[0] in section, (words, option.opts)


def test_the_man_page_has_no_warning_of_groff() -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    page = manual.man_page(COMMANDS, "0.0.0", 0)
    plain = [f"-P-{flag}" for flag in "cbou"]  # no overstrikes
    command = ["groff", "-man", "-Tutf8", "-ww", "-K", "utf8", *plain]
    done = subprocess.run(command, input=page.encode(), check=True, capture_output=True, timeout=60)
    assert done.stderr == b""
    assert "facepay till ask" in done.stdout.decode()


TYPED = pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["facepay", "ini"], ["init"]),
        (["facepay", "till", "as"], ["ask"]),
        (["facepay", "init", "--tr"], ["--try"]),
        (["facepay", "config", "apply", "--with"], ["--within"]),
        (["facepay", "--vers"], ["--version"]),
        (["facepay", "status", "--config", "x", "--wa"], ["--watch"]),
    ],
    ids=" ".join,
)


def run(*command: str) -> list[str]:
    """The words that the shell prints; skips without the shell."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    env = os.environ | {"LC_ALL": "C"}  # of another locale, a shell may warn that it is not installed
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@TYPED
def test_bash_completes_commands_and_options(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    file = tmp_path / "facepay"
    file.write_text(completion.bash(COMMANDS))
    typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
    assert run("bash", "-euc", f"source {file}; {typed}; _facepay; echo ${{COMPREPLY[@]}}") == offered


@TYPED
def test_zsh_completes_commands_and_options(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    """``compadd`` exists inside a completion only: its replacement prints the words with the typed prefix."""
    file = tmp_path / "_facepay"
    file.write_text(completion.zsh(COMMANDS))
    compadd = 'compadd() { print -r -- ${(M)${(P)2}:#$words[CURRENT]*} }; _files() { print "a file" }'
    typed = f"words=({' '.join(words)}); CURRENT={len(words)}"
    assert run("zsh", "-fuc", f"{compadd}; {typed}; source {file}") == offered


@TYPED
def test_fish_completes_commands_and_options(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    file = tmp_path / "facepay.fish"
    file.write_text(completion.fish(COMMANDS))
    home = f"set -x HOME {tmp_path}; set -x XDG_CONFIG_HOME {tmp_path}"
    found = run("fish", "--no-config", "-c", f"{home}; source {file}; complete -C '{' '.join(words)}'")
    assert found == offered


@pytest.mark.parametrize(
    "make", [completion.bash, completion.zsh, completion.fish], ids=["bash", "zsh", "fish"]
)
def test_each_completion_has_every_command_and_option_in_plain_words(make: Callable[..., str]) -> None:
    """Without the shell: each word is there, and no quote stays open."""
    text = make(COMMANDS)
    for words, command in COMMANDS:
        lines = [each for each in text.splitlines() if f'"{words}") ' in each or f"_at {words}'" in each]
        found = set(re.findall(r"[\w=-]+", " ".join(lines)))
        for option in completion.options(command):
            assert {option.opts[0], option.opts[0].lstrip("-")} & found, (words, option.opts)
    assert text.count('"') % 2 == 0 and text.count("'") % 2 == 0


def test_the_files_are_the_same_in_each_build(tmp_path: Path) -> None:
    for name in ("a", "b"):
        manual.write(tmp_path / name, "0.0.0", 0)
    for place in (manual.MAN, completion.BASH, completion.ZSH, completion.FISH):
        assert (tmp_path / "a" / place).read_bytes() == (tmp_path / "b" / place).read_bytes()
