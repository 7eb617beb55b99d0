"""``facepay demo --keep`` prints commands for another shell: each line works as printed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

TIMEOUT_S = 240
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
    command = [sys.executable, "-m", "agent.cli", "demo", "--keep"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        printed = list[str]()
        for line in demo.stdout:
            printed.append(line)
            if "Ctrl-C ends" in line:
                break
        yield [line.strip() for line in printed if re.match(r"  \S", line)]
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=TIMEOUT_S)


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
