"""Variables of a shell change no connection of a command: only the config decides about connections."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.commands import facepay

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "mqtt_proxy", "ftp_proxy")
NAMES = (
    *PROXIES,
    *(name.upper() for name in PROXIES),
    "Http_Proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
)
PRINT_VARIABLES = """
import atexit, json, os
from agent.cli import main
def write(names=tuple(os.environ)):
    print("gone:", json.dumps(sorted(set(names) - set(os.environ))))
atexit.register(write)
main()
"""


def test_variables_of_proxies_and_tls_are_removed_before_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "KEPT"):
        monkeypatch.setenv(name, "x")
    done = facepay("--version", code=PRINT_VARIABLES)
    gone = json.loads(done.stdout.partition("gone: ")[2])
    assert set(NAMES) == set(gone), done.stdout + done.stderr


def test_camera_stream_is_not_requested_from_a_proxy_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg itself reads the variable: a proxy would get the pictures and the password of the camera."""
    with socket.create_server(("127.0.0.1", 0)) as proxy, socket.create_server(("127.0.0.1", 0)) as camera:
        proxy.settimeout(0)
        path = tmp_path / "agent.toml"
        path.write_text(
            'profile = "demo"\n[camera]\nkind = "stream"\nstall_ms = 500\n'
            f'source = "http://user:hunter2@127.0.0.1:{camera.getsockname()[1]}/live"\n'
            f'[storage]\ndirectory = "{tmp_path}"\n'
        )
        path.chmod(0o600)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        done = facepay("camera", "shot", tmp_path / "shot.jpg", "--config", path)
        assert done.returncode and "camera_" in done.stderr, done.stderr
        camera.settimeout(0)
        camera.accept()[0].close()
        try:
            proxy.accept()[0].close()
        except BlockingIOError:
            return
        raise AssertionError("the proxy got the request")
