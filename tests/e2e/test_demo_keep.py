"""``facepay demo --keep`` prints commands for another shell: each line works as printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.commands import Command

TIMEOUT_S = 240
# All visits take 20 s; tests/terminal/test_traces.py plays them.
ONE_VISIT = """
import agent.cli
from agent.demo import demo_output
demo_output.VISITS = demo_output.VISITS[:1]
agent.cli.main()
"""
# command -> its exit codes and a word of its output. doctor: other programs may leave files in /tmp
WANTED = {
    "status": ({0, 1}, "ONLINE"),
    "why": ({0}, "match / same_person"),
    "doctor": ({0, 1, 2}, " passed"),
    "page": ({0}, "http://127.0.0.1:"),
    "till ask": ({0}, "match/same_person"),
    "trace replay": ({0}, "same"),
    "mosquitto_sub": ({0}, "facepay/v1/demo/terminal-1/state"),
}


@pytest.fixture(scope="module")
def lines() -> Iterator[list[str]]:
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, encoding="utf-8") as output,
        Command(["demo", "--keep"], stdout=write_end, code=ONE_VISIT) as demo,
    ):
        os.close(write_end)
        try:
            printed = list[str]()
            for line in output:
                printed.append(line)
                if "Ctrl-C ends" in line:
                    break
            yield [line.strip() for line in printed if re.match(r"  \S", line)]
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(TIMEOUT_S)


@pytest.mark.parametrize("command", [name for name in WANTED if name != "mosquitto_sub"])
def test_a_printed_line_works_as_it_is(lines: list[str], command: str) -> None:
    (line,) = [line for line in lines if f" {command} " in line]
    codes, word = WANTED[command]
    done = subprocess.run(
        ["sh", "-c", line], check=False, capture_output=True, text=True, timeout=TIMEOUT_S, cwd="/"
    )
    assert done.returncode in codes and word in done.stdout, (line, done)
    failed = [row for row in done.stdout.splitlines() if row.startswith("✗")]
    assert all("privacy.audit" in row for row in failed), failed


def test_the_printed_subscription_shows_the_state(lines: list[str]) -> None:
    found = [line for line in lines if line.startswith("mosquitto_sub")]
    if not found:
        pytest.skip("mosquitto_sub is not installed")
    done = subprocess.run(
        ["sh", "-c", f"{found[0]} -C 1 -W 60"], check=True, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert WANTED["mosquitto_sub"][1] in done.stdout


def test_every_printed_line_is_tested(lines: list[str]) -> None:
    assert all(any(name in line for name in WANTED) for line in lines) and len(lines) >= len(WANTED) - 1
