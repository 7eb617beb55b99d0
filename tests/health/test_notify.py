"""Notification of systemd: an absent supervisor is no error."""

from __future__ import annotations

import errno
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


def test_notify_without_a_free_file_descriptor_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception would end the job that feeds the watchdog, also after descriptors are free again."""

    def no_socket(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(socket, "socket", no_socket)
    assert not notify("WATCHDOG=1")
