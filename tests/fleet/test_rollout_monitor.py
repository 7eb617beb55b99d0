"""The check of the running agent during a rollout: its status after the change against its status before."""

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
from agent.errors import AgentNotRunning, StatusError
from agent.fleet.rollout_monitor import RolloutMonitor, RunningAgent

OLD, RELOADABLE = Config(), Config.model_validate({"guard": {"failures": 1}})
NEEDS_RESTART = Config.model_validate({"site": "other"})
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
    """Returns the given answers in order, then repeats the last one. Its clock advances in ``sleep`` only."""

    def __init__(self, *answers: Mapping[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.signals: list[int] = []
        self.now_s = 1_000.0

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s

    def status(self, _config: Config) -> Mapping[str, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def activate(self, new: Config) -> tuple[str, str]:
        access = RunningAgent(
            self.status,
            lambda _: 7,
            lambda _: "new",
            lambda _, number: self.signals.append(number),
            now_s=lambda: self.now_s,
            sleep=self.sleep,
        )
        monitor = RolloutMonitor(OLD, access)
        monitor.record_status()
        return str(monitor.activate(OLD, new) or ""), str(monitor.note or "")


def test_settle_waits_for_the_first_answer_of_the_compare_api() -> None:
    """A wrong port of the API must not pass as healthy in the seconds before the agent's first check."""
    before, silent = status("old", api={"answered_s": 4}), status(api={"answered_s": None})
    assert "no answer of the compare API" in Agent(before, silent).activate(NEEDS_RESTART)[0]
    assert Agent(before, silent, status(api={"answered_s": 0})).activate(NEEDS_RESTART)[0] == ""
    assert Agent(silent, silent).activate(NEEDS_RESTART)[0] == "", "the API did not answer before either"


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ([status()], ""),
        ([AgentNotRunning("starting"), status()], ""),
        ([status(connected=False), status()], ""),
        ([status("old")], "another config"),
        ([status(connected=False)], "lost the broker"),
        ([status("new", "compare_credentials")], "compare_credentials"),
        ([status("old", config_refused="config_invalid: x")], "refuses the config: config_invalid"),
        ([AgentNotRunning("gone")], "gone"),
        ([HUNG], "agent_hung"),
        ([{"schema": "x"}], "not a status document"),
        ([status() | {"conditions": [1]}], "not a status document"),
    ],
)
def test_settle_returns_the_problem_or_nothing(
    after: list[Mapping[str, Any] | Exception], message: str
) -> None:
    problem, note = Agent(status("old"), *after).activate(RELOADABLE)
    assert (message in problem and problem) if message else problem == ""
    assert note == ""


def test_a_problem_from_before_the_change_is_ignored() -> None:
    before = status("old", "camera_stalled", connected=False)
    assert Agent(before, status("new", "camera_stalled", connected=False)).activate(RELOADABLE) == (
        "",
        "",
    )


def test_a_reloadable_change_sends_sighup_and_other_changes_sigterm() -> None:
    for new, number in ((RELOADABLE, signal.SIGHUP), (NEEDS_RESTART, signal.SIGTERM)):
        agent = Agent(status("old"), status())
        assert agent.activate(new) == ("", "")
        assert agent.signals == [number]


def test_an_unsupervised_agent_is_not_stopped() -> None:
    agent = Agent(status("old", supervised=False), status())
    problem, note = agent.activate(NEEDS_RESTART)
    assert problem == "" and "site" in note and agent.signals == []


@pytest.mark.parametrize("away", [AgentNotRunning("none"), HUNG], ids=["none runs", "it hangs"])
def test_without_a_running_agent_no_signal_is_sent(away: StatusError) -> None:
    agent = Agent(away)
    problem, note = agent.activate(NEEDS_RESTART)
    assert problem == "" and "next start" in note and agent.signals == []


def test_peer_pid_refuses_a_socket_in_a_folder_of_another_user(
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
            pytest.skip("only root can change the owner of a folder")
        with pytest.raises(StatusError, match="listens there") as caught:
            peer_pid(path)
        assert caught.value.code == "status_malformed"


def test_peer_pid_refuses_the_pid_of_an_ended_listener(tmp_path: Path) -> None:
    """An inherited socket has the pid of the first listener; another process may use this pid now."""
    path = tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX) as server:
        listener = os.fork()
        if not listener:
            try:
                server.bind(str(path))
                server.listen()
            finally:
                os._exit(0)  # in any case: another process must not continue the tests
        os.waitpid(listener, 0)
        with pytest.raises(StatusError, match="listens there") as caught:
            peer_pid(path)
        assert caught.value.code == "status_malformed"
