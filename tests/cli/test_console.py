"""Colours and the spinner appear on a terminal, never in a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.console import paint
from agent.cli.doctor import show_row
from agent.messages.signing import Signer
from agent.resources import data
from tests.brokers import Mosquitto, free_port
from tests.commands import SHORT_WAITS, Command, facepay

SLOW = """
import time
from agent.cli.console import Spinner, paint
with Spinner("counting sheep") as waiting:
    time.sleep(0.5)
    waiting.print_out(paint("one sheep", "red"))
    time.sleep(0.3)
print("asleep")
"""


def on_a_terminal(*words: str, code: str = "", **env: str) -> str:
    """The output of a command on a terminal, stdout and stderr together. ``code``: as of ``Command``."""
    ours, theirs = pty.openpty()
    plain = {"NO_COLOR": "", "TERM": "xterm", **env}
    with Command(words, stdout=theirs, stderr=theirs, env=plain, code=code, frees_modules=False) as command:
        os.close(theirs)
        seen = bytearray()
        try:
            while piece := os.read(ours, 4_096):
                seen += piece
        except OSError:  # EIO: the other side is gone
            pass
        os.close(ours)
        command.wait(60)
    return seen.decode()


def test_spinner_shows_its_step_and_erases_the_line_at_the_end() -> None:
    seen = on_a_terminal(code=SLOW)
    assert "counting sheep  0 s" in seen
    assert "\x1b[31mone sheep\x1b[0m" in seen
    assert seen.rstrip().endswith("\x1b[2Kasleep")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no colour", "dumb"])
def test_no_color_and_dumb_terminal_get_no_colours(env: dict[str, str]) -> None:
    seen = on_a_terminal(code=SLOW, **env)
    assert "one sheep" in seen and "\x1b[31m" not in seen
    assert ("counting sheep" in seen) is ("NO_COLOR" in env)


def test_pipe_gets_text_without_control_codes() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], check=True, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"one sheep\nasleep\n", b"")


def test_announcement_appears_on_a_terminal_only() -> None:
    code = "from agent.cli.console import announce; announce('loading')"
    assert on_a_terminal(code=code) == "loading\r\n"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"", b"")


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
INIT = ("init", "-y", *WHO)
PHOTO = str(data("photos/enrolled/obama_portrait.jpg"))


@pytest.mark.parametrize(
    ("command", "code", "sign"),
    [
        ((), BENCH, "⠋ memory, 2 of 2  0 s"),
        (("compare", PHOTO, PHOTO), "", "calling the compare service"),
        (("bundle", "-c", "{config}", "-o", "{folder}/{n}.tar.gz"), "", "doctor.json"),
        (
            (*INIT, "-c", "{folder}/{n}.toml", "--storage", "{folder}/state"),
            "",
            "checking camera, API and broker",
        ),
    ],
    ids=["bench", "compare", "bundle", "init"],
)
def test_slow_commands_show_a_spinner_on_a_terminal_only(
    tmp_path: Path, command: tuple[str, ...], code: str, sign: str
) -> None:
    (tmp_path / "agent.toml").write_text(f'profile = "demo"\n[storage]\ndirectory = "{tmp_path / "state"}"\n')
    first, second = (
        [word.format(config=tmp_path / "agent.toml", folder=tmp_path, n=number) for word in command]
        for number in (1, 2)
    )
    assert sign in on_a_terminal(*first, code=code)
    done = facepay(*second, code=code)
    assert "\x1b" not in done.stderr and sign not in done.stderr and done.stdout


def test_till_conformance_shows_the_running_scenario(broker: Mosquitto, tmp_path: Path) -> None:
    words = f"till conformance --key {tmp_path}/k.pem --listen 0 --port {broker.port} --terminal sign"
    command = (*words.split(), "--wait-s", "1", "--settle-ms", "50", "--only", "match")
    seen = on_a_terminal(*command)
    assert "1 of 1: " in seen and "\x1b[2Kyour till: ask" in seen
    done = facepay(*command)
    assert "1 of 1: " not in done.stderr and "\x1b" not in done.stderr and "your till: ask" in done.stderr


def test_shown_text_controls_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
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
    output = capsys.readouterr().out
    assert "\x1b" not in output and "fine" in output and "正常" in output


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("till ask photo.jpg", "verifying at site/terminal"),
        ("till watch", "waiting for the first message"),
        ("diag ask --sign-key key --key key.pem", "waiting for the report of site/terminal"),
    ],
)
def test_command_that_waits_for_a_terminal_prints_a_line_before_its_error(
    words: str, first: str, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    signer = Signer.generate()
    signer.save(tmp_path / "key")
    (tmp_path / "key.pem").write_bytes(signer.public.pem())
    done = facepay(*words.split(), "--port", str(free_port()), cwd=tmp_path, code=SHORT_WAITS)
    line, error, *_ = done.stderr.splitlines()
    assert (done.returncode, line, done.stdout) == (1, first, "")
    assert error.startswith("mqtt_unreachable: ")
