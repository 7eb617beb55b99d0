"""The check after an upgrade: four healthy checks in a row, the installed version, no new faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent import __version__
from agent.errors import AgentNotRunning
from agent.fleet.time_limits import CHECK_EVERY_S, CHECKS_MIN
from agent.fleet.upgrade_check import wait_until_healthy
from tests.commands import facepay

GOOD: dict[str, Any] = {"version": "0.3.0", "mqtt": {"connected": True}, "conditions": []}
FAULT = {"code": "camera_frozen", "severity": "error"}
WARNING = {"code": "disk_low", "severity": "warning"}


def checked(
    answers: Callable[[int], Mapping[str, Any]], before: Mapping[str, Any] = GOOD, within_s: float = 60
) -> tuple[str, int]:
    """(problem, number of checks); ``answers`` gets the number of the check."""
    now_s, count = 0.0, 0

    def status() -> Mapping[str, Any]:
        nonlocal count
        count += 1
        return answers(count)

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    problem = wait_until_healthy(status, "0.3.0", before, within_s, sleep, lambda: now_s)
    return str(problem or ""), count


def test_healthy_agent_is_accepted_after_four_checks() -> None:
    assert checked(lambda _: GOOD) == ("", CHECKS_MIN)
    assert checked(lambda _: GOOD | {"conditions": [WARNING]}) == ("", CHECKS_MIN)


def test_agent_that_starts_slowly_is_accepted() -> None:
    def answer(number: int) -> Mapping[str, Any]:
        if number < 10:
            raise AgentNotRunning("no agent", code="agent_not_running")
        return GOOD

    assert checked(answer) == ("", 9 + CHECKS_MIN)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (GOOD | {"version": "0.2.0"}, "version 0.2.0 runs"),
        (GOOD | {"mqtt": {"connected": False}}, "no connection"),
        (GOOD | {"mqtt": None}, "no connection"),
        (GOOD | {"conditions": [WARNING, FAULT]}, "new faults: camera_frozen"),
        ({}, "version None runs"),
    ],
)
def test_problem_that_lasts_is_reported_at_the_end(found: Mapping[str, Any], problem: str) -> None:
    reported, count = checked(lambda _: found, within_s=10)
    assert problem in reported and count == 10 / CHECK_EVERY_S


def test_agent_that_never_answers_is_reported() -> None:
    def answer(_: int) -> Mapping[str, Any]:
        raise AgentNotRunning("no agent", code="agent_not_running")

    assert checked(answer, within_s=5)[0] == "agent_not_running: no agent"


def test_agent_that_ends_again_and_again_is_not_healthy() -> None:
    def answer(number: int) -> Mapping[str, Any]:
        if number % CHECKS_MIN == 0:
            raise AgentNotRunning("no agent", code="agent_not_running")
        return GOOD

    problem, count = checked(answer, within_s=20)
    assert problem and count == 20 / CHECK_EVERY_S


def test_fault_and_lost_connection_of_before_are_no_fault_of_the_upgrade() -> None:
    ill = GOOD | {"conditions": [FAULT], "mqtt": {"connected": False}}
    assert checked(lambda _: ill, before=ill) == ("", CHECKS_MIN)
    assert checked(lambda _: ill, before={}, within_s=5)[0], "without a status before, every fault counts"


def test_command_exits_with_2_and_names_the_problem(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[storage]\ndirectory = "{tmp_path}"\n')
    command = ("doctor", "--after-upgrade", "--within-s", "2", "--config", config)
    done = facepay(*command, "--json", "--before", tmp_path / "absent.json")
    assert done.returncode == 2, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["version"]) == ("facepay.upgrade/1", __version__)
    assert found["problem"].startswith("status_socket_missing")
    assert facepay(*command).stdout.startswith(f"version {__version__}: status_socket_missing")
