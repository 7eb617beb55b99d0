"""Colours and signs of life are for people: seen on a terminal, never in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from agent.cli.doctor import show_row
from agent.cli.waiting import paint

SLOW = """
import time
from agent.cli.waiting import Waiting, paint
with Waiting("counting sheep") as waiting:
    time.sleep(0.5)
    waiting.say(paint("one sheep", "red"))
    time.sleep(0.3)
print("asleep")
"""


def on_a_terminal(**env: str) -> str:
    """All that a person's screen receives, stdout and stderr together."""
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=theirs, stderr=theirs, env=plain | {"TERM": "xterm"} | env
    ):
        os.close(theirs)
        seen = bytearray()
        try:
            while piece := os.read(ours, 4_096):
                seen += piece
        except OSError:  # EIO: the other side is gone
            pass
        os.close(ours)
    return seen.decode()


def test_a_person_sees_what_is_waited_for_and_the_line_is_gone_afterwards() -> None:
    seen = on_a_terminal()
    assert "counting sheep  0 s" in seen
    assert "\x1b[31mone sheep\x1b[0m" in seen
    assert seen.rstrip().endswith("\x1b[2Kasleep")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no colour", "dumb"])
def test_somebody_without_colours_gets_none(env: dict[str, str]) -> None:
    seen = on_a_terminal(**env)
    assert "one sheep" in seen and "\x1b[31m" not in seen
    assert ("counting sheep" in seen) is ("NO_COLOR" in env)


def test_a_pipe_gets_the_words_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], check=True, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"one sheep\nasleep\n", b"")


def test_what_is_shown_commands_no_window(capsys: pytest.CaptureFixture[str]) -> None:
    print(paint("fine\x1b]0;title\x07 \x1b[2J 正常", "red"))
    show_row(
        {
            "verdict": "warn",
            "id": "x",
            "title": "",
            "title_zh": "",
            "why": "\x1b[H",
            "fix": "\x1b[H",
            "fix_zh": "",
        }
    )
    said = capsys.readouterr().out
    assert "\x1b" not in said and "fine" in said and "正常" in said
