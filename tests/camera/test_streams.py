"""Streams over real sockets whose sender is silent, stops or refuses; and the password stays secret."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from agent.camera import video
from agent.camera.source import NewestFrameSource
from agent.camera.video import StreamBackend
from agent.config import CameraConfig
from agent.errors import CameraError, Retry
from tests.camera.clock import RunningClock

REFUSAL = b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=cam\r\n\r\n"
BOUNDARY = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: "
OPEN_AND_PRINT = """
import logging, sys
from agent.camera.video import StreamBackend
from agent.config import CameraConfig
from agent.errors import CameraError
from agent.root.wiring import BootClock
logging.basicConfig(level=logging.DEBUG)
backend = StreamBackend(CameraConfig(kind="stream", source=sys.argv[1]), BootClock())
try:
    backend.open()
except CameraError as error:
    print(error.code, error, error.fix)
"""


@contextmanager
def sender(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on loopback; ``serve`` gets each connection in its own thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


def black_hole(connection: socket.socket) -> None:
    """Accepts all data, sends no answer."""


def refusing(connection: socket.socket) -> None:
    connection.recv(4_096)
    connection.sendall(REFUSAL)


def three_pictures(connection: socket.socket) -> None:
    """Three MJPEG pictures over HTTP; then the sender hangs with the connection open."""
    picture = cv2.imencode(".jpg", np.full((120, 160, 3), 90, np.uint8))[1].tobytes()
    connection.recv(4_096)
    connection.sendall(
        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=picture\r\n\r\n"
        + b"".join(BOUNDARY + b"%d\r\n\r\n" % len(picture) + picture + b"\r\n" for _ in range(3))
    )


def backend(url: str, **more: object) -> StreamBackend:
    size = {"width_px": 160, "height_px": 120, "stall_ms": 500, **more}
    return StreamBackend(
        CameraConfig.model_validate({"kind": "stream", "source": url, **size}), RunningClock()
    )


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_OPEN_TIMEOUT_MS", 500)


@pytest.mark.parametrize("serve", [black_hole, refusing])
def test_open_sender_without_an_answer_raises_with_retry(
    serve: Callable[[socket.socket], None],
) -> None:
    with sender(serve) as port:
        camera = backend(f"rtsp://till:hunter2@127.0.0.1:{port}/live")
        with pytest.raises(CameraError, match=r"127\.0\.0\.1 cannot be opened") as caught:
            camera.open()
        camera.close()
    assert caught.value.code == "camera_unavailable" and caught.value.retry is Retry.BACKOFF


def test_grab_sender_that_stops_raises() -> None:
    with sender(three_pictures) as port:
        camera = backend(f"http://127.0.0.1:{port}/live")
        camera.open()
        with pytest.raises(CameraError, match="sends no more pictures"):
            for _ in range(10):
                camera.grab()
        camera.close()


def test_start_and_stop_with_a_silent_sender_are_bounded() -> None:
    with sender(black_hole) as port:
        camera = NewestFrameSource(backend(f"rtsp://127.0.0.1:{port}/"), RunningClock(), stall_ms=500)
        with pytest.raises(CameraError, match="cannot be opened"):
            camera.start()
        camera.stop()


@pytest.mark.parametrize("serve", [black_hole, refusing])
def test_open_password_is_neither_printed_nor_logged_and_ffmpeg_is_silent(
    serve: Callable[[socket.socket], None],
) -> None:
    """In a new process: FFmpeg writes to stderr without Python, and reads its log level once."""
    with sender(serve) as port:
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AND_PRINT, f"rtsp://till:hunter2@127.0.0.1:{port}/live"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "camera_unavailable stream from 127.0.0.1 cannot be opened" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert done.stderr == ""
