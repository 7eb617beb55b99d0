"""Certificates that the FFmpeg inside OpenCV accepts: the basis of the allow-list of profile ``shop``."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.camera.video import StreamBackend
from agent.config import CameraConfig
from agent.config.stream_url import Authentication, parse
from agent.errors import CameraError
from tests.broker_example.pki import Authority, Pair
from tests.camera.clock import RunningClock
from tests.camera.test_streams import BOUNDARY, sender, three_pictures
from tests.service.certificates import self_signed

SCHEMES = ("https", "rtsps")


class Camera:
    """A TLS server on loopback. ``received``: first bytes of each client that accepted the certificate."""

    def __init__(self, pair: Pair) -> None:
        self.received = list[bytes]()
        self.refused = threading.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pair.cert, pair.key)

    def serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as link:
                self.received.append(link.recv(20))
        except OSError:
            self.refused.set()


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Pair]:
    authority, stranger = Authority(tmp_path, "ca"), tmp_path / "stranger"
    stranger.mkdir()
    return {
        "good": authority.issue("localhost"),
        "other name": authority.issue("other.example"),
        "expired": authority.issue("localhost", "expired", days=-1),
        "self-signed": Pair(*self_signed(stranger)),
    }


def attempt(scheme: str, host: str, pair: Pair, ca_file: Path | None) -> Camera:
    camera = Camera(pair)
    with sender(camera.serve) as port:
        source = f"{scheme}://{host}:{port}/live"
        config = CameraConfig(kind="stream", source=source, ca_file=ca_file, stall_ms=500)
        backend = StreamBackend(config, RunningClock())
        with pytest.raises(CameraError, match="cannot be opened"):
            backend.open()
        backend.close()
    return camera


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("which", ["other name", "expired", "self-signed"])
def test_with_a_ca_a_wrong_certificate_ends_the_connection(
    scheme: str, which: str, certificates: dict[str, Pair], tmp_path: Path
) -> None:
    camera = attempt(scheme, "localhost", certificates[which], tmp_path / "ca.pem")
    assert camera.refused.wait(60) and not camera.received


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_a_ca_the_right_certificate_is_accepted(
    scheme: str, certificates: dict[str, Pair], tmp_path: Path
) -> None:
    assert attempt(scheme, "localhost", certificates["good"], tmp_path / "ca.pem").received


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_ca_file_that_is_missing_trusts_no_certificate(
    scheme: str, certificates: dict[str, Pair], tmp_path: Path
) -> None:
    camera = attempt(scheme, "localhost", certificates["good"], tmp_path / "missing.pem")
    assert camera.refused.wait(60) and not camera.received


def test_an_option_in_the_environment_does_not_weaken_the_verification(
    certificates: dict[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "tls_verify;0")
    camera = attempt("https", "localhost", certificates["self-signed"], tmp_path / "ca.pem")
    assert camera.refused.wait(60) and not camera.received


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_a_ca_any_certificate_is_accepted_so_the_stream_counts_as_unverified(
    scheme: str, certificates: dict[str, Pair]
) -> None:
    assert attempt(scheme, "localhost", certificates["self-signed"], None).received
    assert parse(f"{scheme}://localhost/live").authentication(has_ca=False) is Authentication.UNVERIFIED


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_an_ip_address_the_name_is_not_compared_so_the_stream_counts_as_unverified(
    scheme: str, certificates: dict[str, Pair], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "ca2").issue("other.example", "no-address")
    assert attempt(scheme, "127.0.0.1", stranger, tmp_path / "ca2.pem").received
    for host in ("127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]"):
        assert parse(f"{scheme}://{host}/live").authentication(has_ca=True) is Authentication.UNVERIFIED


def live(link: socket.socket) -> None:
    """MJPEG, a picture every 50 ms until the client leaves."""
    three_pictures(link)
    picture = cv2.imencode(".jpg", np.full((120, 160, 3), 90, np.uint8))[1].tobytes()
    with contextlib.suppress(OSError):
        while True:
            link.sendall(BOUNDARY + b"%d\r\n\r\n" % len(picture) + picture + b"\r\n")
            time.sleep(0.05)


@pytest.fixture
def redirecting() -> Iterator[Callable[[socket.socket], None]]:
    """Redirects each client to an unencrypted address that delivers pictures."""
    with sender(three_pictures) as port:
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/live\r\nContent-Length: 0\r\n\r\n"

        def serve(link: socket.socket) -> None:
            link.recv(4_096)
            link.sendall(answer.encode())

        yield serve


@pytest.mark.parametrize("folder", ["plain", "odd; 'name' | \\x"])
def test_a_verified_stream_delivers_frames_and_follows_no_redirect_to_a_plain_one(
    folder: str, tmp_path: Path, redirecting: Callable[[socket.socket], None]
) -> None:
    place = tmp_path / folder
    place.mkdir()
    pair = Authority(place, "ca").issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    links = list[socket.socket]()  # stay open until the end

    def backend(serve: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
        def over_tls(plain: socket.socket) -> None:
            links.append(context.wrap_socket(plain, server_side=True))
            serve(links[-1])

        return over_tls

    def camera(port: int) -> StreamBackend:
        source = f"HTTPS://localhost:{port}/live"
        fields = {"kind": "stream", "source": source, "ca_file": place / "ca.pem", "stall_ms": 2_000}
        size = {"width_px": 160, "height_px": 120}
        return StreamBackend(CameraConfig.model_validate(fields | size), RunningClock())

    with sender(backend(live)) as port:
        verified = camera(port)
        verified.open()
        assert np.asarray(verified.grab().pixels).shape == (120, 160, 3)
        verified.close()
    with sender(backend(redirecting)) as port:
        redirected = camera(port)
        with pytest.raises(CameraError, match="cannot be opened"):
            redirected.open()
        redirected.close()
    for link in links:
        link.close()
