"""The checks of the board, the files and the systemd unit, each with a prepared ``CheckInputs``."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.camera.orientation import Orientation
from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import load_scene
from agent.config import Config, VisionConfig
from agent.config.file import load
from agent.control.status import StatusFacts, status_document
from agent.core.model import Frame
from agent.core.pace import choose_pace
from agent.diagnostics.check import Finding, Verdict
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks import agent, camera, config, stored, system
from agent.errors import StorageError
from agent.health.counters import Counters
from agent.health.probe_results import CameraProbe, ModelProbe, MountingReading, OutboxProbe
from agent.outbox import inspect
from agent.outbox.database import FILE, open_file
from agent.outbox.inspect import inspect_outbox
from agent.resources import data
from agent.root.doctor import inputs_from_file
from agent.texts import Text
from agent.vision.detector_check import check_mounting, scene_sharpness
from tests.diagnostics.kit import GOOD_CAMERA, TerminalFiles, causes, findings, hanging_on
from tests.texts import en, zh


@pytest.fixture
def place(tmp_path: Path) -> TerminalFiles:
    return TerminalFiles(tmp_path, "http://127.0.0.1:1/face/compare", 1)


def values(finding: Finding) -> tuple[str, str]:
    return finding.verdict.value, finding.why


@pytest.mark.parametrize(
    ("liveness", "is_named"),
    [("mode = 'challenge'", True), ("mode = 'challenge'\nshading = true", False), ("mode = 'off'", False)],
)
def test_config_lint_of_a_challenge_without_shading_passes_and_names_it(
    place: TerminalFiles, liveness: str, is_named: bool
) -> None:
    place.extra = f"[liveness]\n{liveness}"
    finding = findings(place.inputs(), "config.lint")["config.lint"]
    assert finding.verdict is Verdict.PASS and ("without liveness.shading" in finding.why) is is_named


def put(inputs: CheckInputs, path: str, text: str) -> None:
    file = inputs.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("bits", "verdict", "words"),
    [
        ("0x0", "pass", "no under-voltage"),
        ("0x50005", "fail", "under-voltage now"),
        ("0x4", "warn", "slowed down now: throttled"),
        ("0xa", "warn", "slowed down now: frequency capped, soft temperature limit"),
        ("0x60000", "warn", "slowed down since the last start: frequency capped, throttled"),
        ("0x80000", "warn", "since the last start: soft temperature limit"),
        ("0x50004", "warn", "under-voltage since the last start"),
        ("0x50000", "warn", "under-voltage since the last start"),
    ],
)
def test_power_firmware_bits_give_verdict(place: TerminalFiles, bits: str, verdict: str, words: str) -> None:
    by_tool = system.power(place.inputs(program=lambda *_: f"throttled={bits}\n"))
    inputs = place.inputs()
    put(inputs, "sys/devices/platform/soc/soc:firmware/get_throttled", f"{bits}\n")
    assert values(by_tool) == values(system.power(inputs))
    assert by_tool.verdict == verdict and words in by_tool.why


def test_power_causes_are_written_in_each_language(place: TerminalFiles) -> None:
    found = system.power(place.inputs(program=lambda *_: "throttled=0xe\n")).reason
    assert isinstance(found, Text) and "frequency capped, throttled, soft temperature limit" in en(found)
    assert "频率受限、已降速、达到温度软限制" in zh(found)


def test_power_without_pi_firmware_is_skipped(place: TerminalFiles) -> None:
    assert system.power(place.inputs()).verdict is Verdict.SKIP
    assert (
        system.power(place.inputs(program=lambda *_: "VCHI initialization failed\n")).verdict is Verdict.SKIP
    )


@pytest.mark.parametrize(
    ("temperatures", "verdict"),
    [((41_000,), "pass"), ((41_000, 78_500), "warn"), ((86_100,), "fail"), ((), "skip")],
    ids=str,
)
def test_thermal_uses_hottest_sensor(
    place: TerminalFiles, temperatures: tuple[int, ...], verdict: str
) -> None:
    inputs = place.inputs()
    for zone, value in enumerate(temperatures):
        put(inputs, f"sys/class/thermal/thermal_zone{zone}/temp", f"{value}\n")
    assert system.thermal(inputs).verdict == verdict


@pytest.mark.parametrize(
    ("life", "spare", "verdict"),
    [("0x01 0x02", "0x01", "pass"), ("0x01 0x09", "0x01", "warn"), ("0x0b 0x01", "0x01", "fail"),
     ("0x01 0x01", "0x03", "fail")],
)  # fmt: skip
def test_disk_worn_emmc_warns_before_it_fails(
    place: TerminalFiles, life: str, spare: str, verdict: str
) -> None:
    inputs = place.inputs()
    put(inputs, "sys/block/mmcblk0/device/life_time", life + "\n")
    put(inputs, "sys/block/mmcblk0/device/pre_eol_info", spare + "\n")
    assert system.disk(inputs).verdict == verdict


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ("MemAvailable: 900000 kB", "pass"),
        ("MemAvailable: 100000 kB", "warn"),
        ("MemAvailable: 20000 kB", "fail"),
        ("MemAvailable: 900000 kB\nCmaTotal: 262144 kB\nCmaFree: 4000 kB", "warn"),
        ("MemAvailable: 900000 kB\nCmaTotal: 0 kB\nCmaFree: 0 kB", "pass"),
        ("nonsense", "skip"),
    ],
)
def test_memory_uses_available_memory_of_the_kernel(place: TerminalFiles, lines: str, verdict: str) -> None:
    inputs = place.inputs()
    put(inputs, "proc/meminfo", lines + "\n")
    assert system.memory(inputs).verdict == verdict


def test_an_unsynchronised_clock_is_a_warning(place: TerminalFiles) -> None:
    assert system.clock(place.inputs(is_synchronised=lambda: False)).verdict is Verdict.WARN
    assert system.clock(place.inputs(is_synchronised=lambda: None)).verdict is Verdict.SKIP


UNIT = (
    "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0\nResult=success\nWatchdogUSec=30s\n"
)


@pytest.mark.parametrize(
    ("output", "verdict", "words"),
    [
        (UNIT, "pass", "watchdog 30s"),
        (UNIT.replace("=active", "=failed").replace("success", "watchdog"), "fail", "watchdog"),
        (UNIT.replace("NRestarts=0", "NRestarts=7"), "warn", "7 times"),
        (UNIT.replace("30s", "0"), "warn", "no watchdog"),
        ("LoadState=not-found\nActiveState=inactive\n", "skip", "not installed"),
        (None, "skip", "does not answer"),
    ],
    ids=["active", "killed by its watchdog", "restarts", "no watchdog", "no unit", "no systemctl"],
)
def test_service_state_gives_verdict(
    place: TerminalFiles, output: str | None, verdict: str, words: str
) -> None:
    inputs = place.inputs(program=lambda *_: output)
    assert agent.unit(inputs).verdict is Verdict.SKIP, "not started by systemd"
    (inputs.root / "run/systemd/system").mkdir(parents=True)
    found = agent.unit(inputs)
    assert found.verdict == verdict and words in found.why


@pytest.mark.parametrize(
    ("facts", "journal", "verdict", "words"),
    [
        (UNIT, "info    daemon: ready\nerror   frames: camera_failed why=gone\n", "pass", "watchdog 30s"),
        (UNIT, "x: Failed with result 'watchdog'.\n" * 2, "warn", "killed by its watchdog 2 times"),
        (
            UNIT.replace("NRestarts=0", "NRestarts=7"),
            "error   till: one\nerror   till: two\ninfo    daemon: ready\n",
            "warn",
            "automatically 7 times; last error: error   till: two",
        ),
        (
            UNIT.replace("=active", "=failed"),
            '{"at": "x", "level": "error", "event": "storage_failed"}\n' + "info   " + "x" * 500,
            "fail",
            "storage_failed",
        ),
        (UNIT.replace("=active", "=failed"), None, "fail", "is failed/running/success"),
    ],
    ids=["an old error", "watchdog", "restarts", "as JSON", "not for this user"],
)
def test_service_state_quotes_last_error_of_the_journal(
    place: TerminalFiles, facts: str, journal: str | None, verdict: str, words: str
) -> None:
    inputs = place.inputs(program=lambda *command: facts if command[0] == "systemctl" else journal)
    (inputs.root / "run/systemd/system").mkdir(parents=True)
    found = agent.unit(inputs)
    assert found.verdict == verdict and words in found.why and len(found.why) < 300


def test_files_of_another_owner_in_the_storage_directory_are_named(place: TerminalFiles) -> None:
    inputs = place.inputs()
    (place.storage / "outbox.sqlite3").touch(mode=0o600)
    assert config.permissions(inputs).verdict is Verdict.PASS
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    os.chown(place.storage / "outbox.sqlite3", 12_345, -1)
    found = config.permissions(inputs)
    assert found.verdict is Verdict.FAIL and "belongs to user 12345" in found.why
    assert found.remedy and "chown --reference" in en(found.remedy)


def test_permissions_storage_directory_of_mode_0755_fails(place: TerminalFiles) -> None:
    inputs = place.inputs()
    place.storage.chmod(0o755)
    assert "mode 0755" in config.permissions(inputs).why


def test_files_credential_of_systemd_is_skipped(place: TerminalFiles) -> None:
    path = place.write()
    credential = "/run/credentials/facepay-agent.service/secret-key"
    path.write_text(path.read_text().replace(str(place.secret), credential))
    found = config.files(inputs_from_file(path))
    assert found.verdict is Verdict.SKIP and "only the service" in found.why


@pytest.mark.parametrize(
    ("probe", "verdict", "words"),
    [
        (None, "pass", "no outbox yet"),
        (OutboxProbe(0, None), "pass", "intact, 0 results"),
        (OutboxProbe(2, 1_000_000), "pass", "2 results"),
        (OutboxProbe(2, 850_000), "warn", "the oldest for 2 min"),
        (OutboxProbe(0, None, "page 3 is never used"), "fail", "page 3"),
        (OutboxProbe(0, None, "", 1), "warn", "1 damaged"),
    ],
    ids=["none", "empty", "fresh", "old", "damaged", "set aside"],
)
def test_outbox_state_gives_verdict(
    place: TerminalFiles, probe: OutboxProbe | None, verdict: str, words: str
) -> None:
    found = stored.outbox(place.inputs(outbox=lambda: probe, unix_ms=lambda: 1_000_000))
    assert found.verdict == verdict and words in found.why


def _outbox(directory: Path, *rows: tuple[int, int]) -> sqlite3.Connection:
    """An outbox with rows of (settled_unix_ms, open)."""
    db, _ = open_file(directory, 0)
    with db:
        for number, (settled, is_open) in enumerate(rows):
            db.execute(
                "INSERT INTO result (result_id, till, request_id, payload, is_match, boot_id, deadline_ms,"
                " settled_unix_ms, open) VALUES (?, 'till-1', ?, x'00', 0, 'b', 0, ?, ?)",
                (f"r{number}", f"q{number}", settled, is_open),
            )
    return db


def test_look_reads_outbox_during_and_after_a_writer_without_a_change(tmp_path: Path) -> None:
    assert inspect_outbox(tmp_path) is None
    db = _outbox(tmp_path, (500, 0), (700, 1), (900, 1))
    assert inspect_outbox(tmp_path) == OutboxProbe(2, 700)
    db.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert inspect_outbox(tmp_path) == OutboxProbe(2, 700)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before, "look leaves no file"


def test_look_separates_damaged_from_unreadable_outbox(tmp_path: Path) -> None:
    _outbox(tmp_path, (500, 1)).close()
    path = tmp_path / FILE
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])
    found = inspect_outbox(tmp_path)
    assert found is not None and "not a database" in str(found.damage)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError):
        inspect_outbox(tmp_path)


def test_an_outbox_of_another_user_is_not_called_damaged(place: TerminalFiles) -> None:
    def denied() -> None:
        raise StorageError("not for this user", code="storage_denied")

    assert stored.outbox(place.inputs(outbox=denied)).verdict is Verdict.SKIP
    _outbox(place.storage, (500, 1)).close()

    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StorageError) as refused:
        patch.setattr(inspect, "check_plain", refuse)  # root may read anything
        inspect_outbox(place.storage)
    assert refused.value.code == "storage_denied"


@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        ({"fps": 3.0}, "frame", "warn"),
        ({"frozen": True}, "frame", "fail"),
        ({"mean_luma": 10.0}, "light", "warn"),
        ({"mean_luma": 240.0}, "light", "warn"),
        ({"fps": 0.4}, "frame", "fail"),
        ({"mounting": MountingReading(1.0)}, "focus", "skip"),
        ({"mounting": MountingReading(6.0)}, "focus", "pass"),
        ({"mounting": MountingReading(53.0), "mean_luma": 12.0}, "focus", "skip"),
        ({"mounting": MountingReading(60.0, 0, 200.0, face_sharpness=12.0)}, "focus", "warn"),
        ({"mounting": MountingReading(60.0)}, "mounting", "skip"),
        ({"mounting": MountingReading(60.0, 180, 200.0)}, "mounting", "fail"),
        ({"mounting": MountingReading(60.0, 0, 99.0)}, "mounting", "warn"),
        ({"mounting": MountingReading(60.0, 0, 600.0, 0.9)}, "mounting", "pass"),
        ({"mounting": MountingReading(60.0, 0, 600.0, 0.91)}, "mounting", "warn"),
    ],
    ids=[
        "slow",
        "frozen",
        "dark",
        "glaring",
        "too slow",
        "empty wall",
        "scene with detail",
        "noise of a dark picture",
        "blurred face",
        "no face",
        "upside down",
        "far",
        "near",
        "too near",
    ],
)
def test_camera_probe_gives_verdict(
    place: TerminalFiles, change: dict[str, float], check: str, verdict: str
) -> None:
    good = {name: getattr(GOOD_CAMERA, name) for name in CameraProbe.__slots__}
    inputs = place.inputs(camera=lambda: CameraProbe(**(good | change)))
    assert getattr(camera, check)(inputs).verdict == verdict


@pytest.mark.parametrize(
    ("scene", "blur_px", "verdict"),
    [
        ("empty", 0, "skip"),
        ("one_obama_podium", 0, "pass"),
        ("one_obama_podium", 6, "warn"),
        ("one_obama_podium", 20, "warn"),
    ],
)
def test_focus_warns_about_a_blurred_face_and_not_about_an_empty_wall(
    place: TerminalFiles, scene: str, blur_px: int, verdict: str
) -> None:
    picture = SceneRenderer(load_scene(scene), 1280, 720, 1, SpriteCache()).picture(2_000)
    blurred = cv2.GaussianBlur(picture, (0, 0), blur_px) if blur_px else picture
    reading = check_mounting(VisionConfig(), np.asarray(blurred, np.uint8))
    place.write()
    found = camera.focus(place.inputs(camera=lambda: replace(GOOD_CAMERA, mounting=reading)))
    assert found.verdict == verdict
    assert verdict == "pass" or "fine print" in en(
        found.remedy or Text("why.camera.focus.no_detail", scene="")
    )


def test_mounting_fix_of_a_too_large_face_names_the_limit(place: TerminalFiles) -> None:
    portrait = cv2.imread(str(data("photos/obama_portrait.jpg")))
    assert portrait is not None
    reading = check_mounting(VisionConfig(), np.asarray(portrait, np.uint8))
    assert 0.2 < reading.face_fraction < 0.9
    place.extra = "[policy]\nmax_face_fraction = 0.2"
    place.write()
    found = camera.mounting(place.inputs(camera=lambda: replace(GOOD_CAMERA, mounting=reading)))
    assert found.verdict is Verdict.WARN and found.remedy is not None
    for text in (en(found.remedy), zh(found.remedy)):
        assert "policy.max_face_fraction = 0.2" in text


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("configured", [0, 90, 180, 270])
@pytest.mark.parametrize("mounted", [0, 90, 180, 270])
def test_mounting_fix_names_the_rotation_that_makes_faces_upright(
    place: TerminalFiles, mounted: int, configured: int, mirror: bool
) -> None:
    """For a camera whose picture is turned by ``mounted``: whatever is configured, one fix is enough."""
    portrait = cv2.imread(str(data("photos/obama_portrait.jpg")))
    assert portrait is not None
    delivered = np.rot90(portrait[:, ::-1] if mirror else portrait, -mounted // 90).copy()

    def checked(rotation: int) -> Finding:
        place.extra = f"[camera]\nrotation = {rotation}\nmirror = {str(mirror).lower()}"
        config = load(place.write(), Config).camera
        frame = Orientation(config.rotation, config.mirror).turn_upright(Frame(delivered, 1, 0, 720, 900))
        reading = check_mounting(VisionConfig(), frame.pixels)
        return camera.mounting(place.inputs(camera=lambda: replace(GOOD_CAMERA, mounting=reading)))

    found = checked(configured)
    if (mounted + configured) % 360 == 0:
        assert found.verdict is Verdict.PASS
    else:
        assert found.verdict is Verdict.FAIL and found.remedy is not None
        named = re.search(r"rotation = (\d+)", en(found.remedy))
        assert named and checked(int(named[1])).verdict is Verdict.PASS


def test_the_real_camera_of_the_config_is_measured(place: TerminalFiles) -> None:
    place.extra = f'[camera]\nsource = "{data("photos/enrolled")}"\nfps = 20'
    probe = inputs_from_file(place.write()).camera()
    assert probe.frames >= 2 and probe.fps > 0 and not probe.frozen
    assert 40 < probe.mean_luma < 215 and probe.mounting.sharpness > 5


def test_a_missing_model_is_no_fault_of_the_camera(place: TerminalFiles) -> None:
    place.extra = (
        '[camera]\nwidth_px = 640\nheight_px = 480\nstall_ms = 120000\n[vision]\ndetector_model = "gone.onnx"'
    )
    found = findings(inputs_from_file(place.write()), "camera.light", "camera.focus", "camera.mounting")
    assert causes(found) == ["model.integrity"]
    assert hanging_on(found, "model.integrity") == {"camera.mounting"}
    assert found["camera.focus"].verdict in (Verdict.PASS, Verdict.WARN)


def test_sharpness_of_a_scene_falls_with_its_detail() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (360, 640, 3), np.uint8)
    assert scene_sharpness(noise) > 50
    assert scene_sharpness(np.full((360, 640, 3), 128, np.uint8)) == 0
    for junk in (None, np.zeros((0, 0, 3), np.uint8), np.zeros((5, 5)), "x"):
        assert scene_sharpness(junk) == 0


def test_checks_change_no_mode_and_write_no_file(place: TerminalFiles) -> None:
    inputs = place.inputs()
    before = stat.S_IMODE(place.storage.stat().st_mode)
    stored.outbox(inputs)
    config.permissions(inputs)
    assert stat.S_IMODE(place.storage.stat().st_mode) == before and not list(place.storage.iterdir())


@pytest.mark.parametrize(
    ("detection_ms", "verdict", "words"),
    [
        (5.0, "pass", "this machine needs 5 ms for a detection: 10 fps are served at width 320"),
        (41.0, "pass", "this machine needs 41 ms for a detection: 10 fps are served at width 256"),
        (900.0, "warn", "this machine needs 900 ms for a detection: 1 fps are served at width 160"),
    ],
)
def test_speed_shows_the_pace_of_the_machine(
    place: TerminalFiles, detection_ms: float, verdict: str, words: str
) -> None:
    """Without an agent the doctor measures; beside an agent its status is read. Both give one sentence."""
    inputs = place.inputs(model=lambda: ModelProbe(1, 30, detection_ms))
    assert values(camera.speed(inputs)) == (verdict, words)
    now = StatusFacts(
        9, (), Counters(), {}, is_connected=True, outbox_depth=0, pace=choose_pace(detection_ms, 320, 10)
    )
    status = status_document(Config(), now)
    beside = replace(inputs, status=lambda: status)
    assert values(camera.speed(beside)) == (verdict, words)
    assert "detection_ms" in status["pace"]
    assert any("检测" in str(text) for text in status["pace"].values()), "and in Chinese"


def test_speed_of_a_fixed_config_is_shown_and_not_changed(place: TerminalFiles) -> None:
    place.extra = "[vision]\nadapt = false\n"
    inputs = place.inputs(model=lambda: ModelProbe(1, 30, 900.0))
    assert values(camera.speed(inputs))[1].endswith("10 fps are served at width 320")


def test_speed_of_an_agent_without_a_measurement_is_skipped(place: TerminalFiles) -> None:
    status = status_document(Config(), StatusFacts(1, (), Counters(), {}, is_connected=True, outbox_depth=0))
    assert camera.speed(place.inputs(status=lambda: status)).verdict is Verdict.SKIP
