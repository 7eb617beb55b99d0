"""Notification of systemd: an absent supervisor is no error."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.health.notify import notify


def test_supervisor_absent_for_a_moment_receives_the_next_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    assert not notify("WATCHDOG=1"), "no socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        gone.bind(str(address))
    assert not notify("WATCHDOG=1"), "a socket without a reader"
    address.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(address))
        assert notify("WATCHDOG=1")
        assert supervisor.recv(64) == b"WATCHDOG=1"
