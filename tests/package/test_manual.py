"""The man page and the completion of the package, from the same command line that the package contains."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import manual
import pytest

COMMANDS = list(manual.walked())


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
    command = ["groff", "-man", "-Tutf8", "-ww", "-K", "utf8"]
    done = subprocess.run(command, input=page.encode(), check=True, capture_output=True, timeout=60)
    assert done.stderr == b""
    assert "facepay till ask" in done.stdout.decode()


@pytest.mark.parametrize(
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
def test_bash_completes_commands_and_options(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    file = tmp_path / "facepay"
    file.write_text(manual.bash_completion(COMMANDS))
    typed = " ".join(words)
    script = (
        f"source {file}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _facepay; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-euc", script], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == offered, done.stderr


def test_both_files_are_the_same_in_each_build(tmp_path: Path) -> None:
    for name in ("a", "b"):
        manual.write(tmp_path / name, "0.0.0", 0)
    for place in (manual.MAN, manual.BASH):
        assert (tmp_path / "a" / place).read_bytes() == (tmp_path / "b" / place).read_bytes()
