"""How a rollout judges the agent that runs: by what it says, and against what it said before."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.control.server import peer_pid
from agent.errors import AgentAway, StatusError
from agent.fleet import running
from agent.fleet.running import RunningAgent, Watch

OLD, SAFE = Config(), Config.model_validate({"guard": {"failures": 1}})
DEEP = Config.model_validate({"site": "other"})
HUNG = StatusError("the agent does not answer")


def status(sha256: str = "new", *errors: str, connected: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "config_sha256": sha256,
        "config_refused": "",
        "supervised": True,
        "mqtt": {"connected": connected},
        "conditions": [{"code": code, "severity": "error"} for code in errors],
        **more,
    }


class Agent:
    """Answers what it was given, the last of it for ever."""

    def __init__(self, *answers: Mapping[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.signals: list[int] = []

    def status(self, _config: Config) -> Mapping[str, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def settle(self, new: Config) -> tuple[str, str]:
        world = RunningAgent(
            self.status, lambda _: 7, lambda _: "new", lambda _, number: self.signals.append(number), 0.2
        )
        watch = Watch(OLD, world)
        watch.look()
        return watch.settle(OLD, new), watch.note


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_LOOK_EVERY_S", 0.001)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([status()], ""),
        ([AgentAway("starting"), status()], ""),
        ([status(connected=False), status()], ""),
        ([status("old")], "another config"),
        ([status(connected=False)], "lost the broker"),
        ([status("new", "compare_credentials")], "compare_credentials"),
        ([status("old", config_refused="config_invalid: x")], "refused: config_invalid"),
        ([AgentAway("gone")], "gone"),
        ([HUNG], "agent_hung"),
        ([{"schema": "x"}], "something else"),
        ([status() | {"conditions": [1]}], "something else"),
    ],
)
def test_it_does_well_or_the_reason_is_said(after: list[Mapping[str, Any] | Exception], words: str) -> None:
    trouble, note = Agent(status("old"), *after).settle(SAFE)
    assert (words in trouble and trouble) if words else trouble == ""
    assert note == ""


def test_what_was_wrong_before_is_not_the_bundles_fault() -> None:
    before = status("old", "camera_stalled", connected=False)
    assert Agent(before, status("new", "camera_stalled", connected=False)).settle(SAFE) == ("", "")


def test_a_safe_change_is_a_reload_and_another_one_a_restart() -> None:
    for new, number in ((SAFE, signal.SIGHUP), (DEEP, signal.SIGTERM)):
        agent = Agent(status("old"), status())
        assert agent.settle(new) == ("", "")
        assert agent.signals == [number]


def test_an_agent_that_nobody_would_start_again_is_not_ended() -> None:
    agent = Agent(status("old", supervised=False), status())
    trouble, note = agent.settle(DEEP)
    assert trouble == "" and "site" in note and agent.signals == []


@pytest.mark.parametrize("away", [AgentAway("none"), HUNG], ids=["none runs", "it hangs"])
def test_without_an_agent_there_is_nothing_to_watch(away: StatusError) -> None:
    agent = Agent(away)
    trouble, note = agent.settle(DEEP)
    assert trouble == "" and "next start" in note and agent.signals == []


def test_no_signal_goes_to_a_process_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert peer_pid(path) > 0
        tmp_path.chmod(0o755)
        try:
            os.chown(tmp_path, 12_345, -1)
        except PermissionError:
            pytest.skip("only root can give a folder away")
        with pytest.raises(StatusError, match="does not own the folder"):
            peer_pid(path)


def test_no_signal_goes_to_whoever_has_the_number_of_a_process_that_ended(tmp_path: Path) -> None:
    """A socket that was handed on names the one who began to listen; what has that number now is not he."""
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as server:
        listener = os.fork()
        if not listener:
            server.bind(str(path))
            server.listen()
            os._exit(0)
        os.waitpid(listener, 0)
        with pytest.raises(StatusError, match="gone"):
            peer_pid(path)
