"""Telling systemd: whoever feeds its watchdog must outlive a moment in which nobody listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.health.notify import notify


def test_a_supervisor_that_is_away_for_a_moment_is_no_error_and_hears_the_next_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    assert not notify("WATCHDOG=1"), "not there"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(address))
    assert not notify("WATCHDOG=1"), "nobody listens"
    address.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(address))
        assert notify("WATCHDOG=1")
        assert supervisor.recv(64) == b"WATCHDOG=1"
