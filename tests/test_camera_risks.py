"""Profile ``shop`` accepts authenticated cameras; every other camera is a named risk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.config.profile import CAMERA_RISKS, check_profile, risks_of
from agent.errors import ConfigError

UNVERIFIED = "unverified_stream_camera"


def shop(**camera: object) -> Config:
    return Config.model_validate(
        {
            "accepted_risks": ["liveness_off"],
            "camera": camera,
            "compare": {"url": "https://api.example/face/compare"},
            "mqtt": {"tls": True},
        }
    )


def present(config: Config) -> list[str]:
    return [name for name in CAMERA_RISKS if risks_of(config)[name]]


@pytest.mark.parametrize(
    ("camera", "risk"),
    [
        ({"kind": "picamera2"}, None),
        ({"kind": "v4l2"}, None),
        ({"kind": "stream", "source": "rtsps://camera.example/1", "ca_file": "ca.pem"}, None),
        ({"kind": "stream", "source": "HTTPS://u:p@Camera.Example:8443/1?ch=1", "ca_file": "ca.pem"}, None),
        ({"kind": "replay"}, "replay_camera"),
        ({"kind": "stream", "source": "rtsp://camera.example/1"}, "plain_rtsp_camera"),
        ({"kind": "stream", "source": "RTSP://camera.example/1"}, "plain_rtsp_camera"),
        ({"kind": "stream", "source": "RtSp://camera.example/1", "ca_file": "ca.pem"}, "plain_rtsp_camera"),
        ({"kind": "stream", "source": "http://camera.example/1"}, "plain_stream_camera"),
        ({"kind": "stream", "source": "rtmp://camera.example/1"}, "plain_stream_camera"),
        ({"kind": "stream", "source": "udp://239.0.0.1:1234"}, "plain_stream_camera"),
        ({"kind": "stream", "source": "srt://camera.example:1"}, "plain_stream_camera"),
        ({"kind": "stream", "source": "https://camera.example/1"}, UNVERIFIED),
        ({"kind": "stream", "source": "rtsps://camera.example/1"}, UNVERIFIED),
        ({"kind": "stream", "source": "rtmps://camera.example/1", "ca_file": "c"}, UNVERIFIED),
        ({"kind": "stream", "source": "rtsps://10.0.0.7/1", "ca_file": "c"}, UNVERIFIED),
        ({"kind": "stream", "source": "rtsps://camera.example/1?udp", "ca_file": "c"}, UNVERIFIED),
    ],
)  # fmt: skip
def test_each_camera_source_has_its_risk(camera: dict[str, object], risk: str | None) -> None:
    config = shop(**camera)
    assert present(config) == ([risk] if risk else [])
    if risk is None:
        check_profile(config)
        return
    with pytest.raises(ConfigError, match=risk):
        check_profile(config)
    check_profile(config.model_copy(update={"accepted_risks": ("liveness_off", risk)}))


def test_stream_address_in_a_file_has_the_same_risk(tmp_path: Path) -> None:
    secret = tmp_path / "camera-source"
    secret.write_text("rtsp://viewer:open-sesame@camera.example/1\n")
    assert present(shop(kind="stream", source_file=secret)) == ["plain_rtsp_camera"]
    secret.write_text("rtsps://viewer:open-sesame@camera.example/1\n")
    assert present(shop(kind="stream", source_file=secret, ca_file="ca.pem")) == []


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ('source = "rtsp://viewer:open[sesame@camera.example/stream1"', 3, "camera.source: .*percent-encode"),
        ('source = "rtsp://viewer:open/sesame@camera.example/stream1"', 3, "camera.source: .*percent-encode"),
        ('source = "rtsp://viewer:open sesame@camera.example/stream1"', 3, "camera.source: .*percent-encode"),
        ('source = "/srv/open-sesame.avi"', 3, "camera.source: .*no scheme"),
        ('source = "file:///srv/open-sesame.avi"', 3, "camera.source: .*scheme file is not supported"),
        ('source = "rtsp://"', 3, "camera.source: .*no host"),
        ('source = ""', 1, "camera: .*needs either source or source_file"),
        ('source = "rtsp://camera.example"\nsource_file = "x"', 1, "camera: .*needs either"),
    ],
)
def test_load_invalid_stream_address_names_file_line_and_key_without_password(
    tmp_path: Path, lines: str, line: int, words: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[camera]\nkind = "stream"\n{lines}\n')
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}:{line}: {words}") as caught:
        load(path, Config)
    assert "sesame" not in f"{caught.value}" and "open[" not in f"{caught.value}"
