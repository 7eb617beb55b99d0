"""Colours and signs of life are for people: seen on a terminal, never in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.doctor import show_row
from agent.cli.waiting import paint
from agent.resources import data
from tests.brokers import Mosquitto

SLOW = """
import time
from agent.cli.waiting import Spinner, paint
with Spinner("counting sheep") as waiting:
    time.sleep(0.5)
    waiting.print_out(paint("one sheep", "red"))
    time.sleep(0.3)
print("asleep")
"""


def on_a_terminal(*command: str, **env: str) -> str:
    """All that a person's screen receives, stdout and stderr together."""
    command = command or ("-c", SLOW)
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    with subprocess.Popen(
        [sys.executable, *command], stdout=theirs, stderr=theirs, env=plain | {"TERM": "xterm"} | env
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


# A section of the benchmark that takes its time.
BENCH = """
import time
import tests.bench.__main__ as bench
from tests.bench.report import Section
def measure(name, *, quick):
    time.sleep(0.5)
    return Section(name, [{"n": 1}])
bench.measure = measure
bench.measure_all(["idle", "memory"], quick=True)
"""
WHO = (
    "--profile",
    "demo",
    "--site",
    "s",
    "--terminal",
    "t",
    "--api",
    "http://127.0.0.1:9/x",
    "--appid",
    "1",
    "--secret-id",
    "a",
)
INIT = ("-m", "agent.cli", "init", "-y", *WHO)
PHOTO = str(data("photos/enrolled/obama_portrait.jpg"))


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        (("-c", BENCH), "⠹ memory, 2 of 2  0 s"),
        (("-m", "agent.cli", "compare", PHOTO, PHOTO), "calling the compare service"),
        (("-m", "agent.cli", "bundle", "-c", "{config}", "-o", "{folder}/{n}.tar.gz"), "doctor.json"),
        (
            (*INIT, "-c", "{folder}/{n}.toml", "--storage", "{folder}/state"),
            "checking camera, API and broker",
        ),
    ],
    ids=["bench", "compare", "bundle", "init"],
)
def test_what_takes_its_time_shows_that_it_lives_to_a_person_alone(
    tmp_path: Path, command: tuple[str, ...], sign: str
) -> None:
    (tmp_path / "agent.toml").write_text(f'profile = "demo"\n[storage]\ndirectory = "{tmp_path / "state"}"\n')
    asked = [
        [word.format(config=tmp_path / "agent.toml", folder=tmp_path, n=number) for word in command]
        if command[0] != "-c"
        else command
        for number in (1, 2)
    ]
    assert sign in on_a_terminal(*asked[0])
    done = subprocess.run(
        [sys.executable, *asked[1]], check=False, capture_output=True, timeout=60, text=True
    )
    assert "\x1b" not in done.stderr and sign not in done.stderr and done.stdout


def test_a_judged_till_shows_which_scenario_is_played(broker: Mosquitto, tmp_path: Path) -> None:
    words = f"till conformance --key {tmp_path}/k.pem --listen 0 --port {broker.port} --terminal sign"
    command = ("-m", "agent.cli", *words.split(), "--wait-s", "1", "--settle-ms", "50", "--only", "match")
    seen = on_a_terminal(*command)
    assert "1 of 1: " in seen and "\x1b[2Kyour till: ask" in seen
    done = subprocess.run([sys.executable, *command], check=False, capture_output=True, timeout=60, text=True)
    assert "1 of 1: " not in done.stderr and "\x1b" not in done.stderr and "your till: ask" in done.stderr


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
