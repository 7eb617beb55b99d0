"""External liveness model: it can only refuse a shot, and every invalid answer refuses a shot."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.config import VetoConfig, VisionConfig
from agent.core.model import Assurance, Box, Detection, Frame, Shot
from agent.core.policy import PolicyLimits
from agent.core.ports import RequestReceived
from agent.errors import LivenessError, ModelError
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.vision.crop import square_around
from agent.vision.external_liveness import ExternalLiveness
from agent.vision.face_analyzer import LocalFaceAnalyzer
from tests.core.builders import FACE, even
from tests.fakes import EPOCH, RealClock, check_frame, request
from tests.terminal.test_terminal import LIMITS, TerminalSetup, serving
from tests.texts import en

Pixels = np.ndarray


def _field(number: int, value: bytes | int | str) -> bytes:
    """One field of a protocol buffer: a number, or bytes with a length."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    raw = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(raw)]) + raw


def _tensor(name: str, *sizes: int) -> bytes:
    shape = b"".join(_field(1, _field(1, size)) for size in sizes)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def colour_model(side: int = 32) -> bytes:
    """An ONNX network whose scores are the means of blue, green and red: class 1 wins in a green picture."""
    pool = _field(1, "x") + _field(2, "p") + _field(4, "GlobalAveragePool")
    flat = _field(1, "p") + _field(2, "y") + _field(4, "Flatten")
    nodes = _field(1, pool) + _field(1, flat)
    graph = (
        nodes + _field(2, "g") + _field(11, _tensor("x", 1, 3, side, side)) + _field(12, _tensor("y", 1, 3))
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def config(folder: Path, raw: bytes | None = None, **how: object) -> VetoConfig:
    path = folder / "liveness.onnx"
    path.write_bytes(colour_model() if raw is None else raw)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return VetoConfig.model_validate({"model": path, "sha256": digest, "input_px": 32, **how})


def painted(blue: int, green: int, red: int) -> Pixels:
    frame = np.empty((720, 1280, 3), np.uint8)
    frame[:] = (blue, green, red)
    return frame


@pytest.mark.parametrize(
    ("colour", "live"),
    [((0, 200, 0), True), ((200, 0, 0), False), ((120, 120, 120), False)],
    ids=["clearly live", "clearly not live", "undecided is not live"],
)
def test_is_live_needs_a_clear_score(tmp_path: Path, colour: tuple[int, int, int], live: bool) -> None:
    assert ExternalLiveness(config(tmp_path)).is_live(painted(*colour), FACE) is live


def test_model_gets_the_face_and_its_surroundings_only(tmp_path: Path) -> None:
    frame = painted(255, 0, 0)
    frame[150:510, 420:780] = (0, 200, 0)
    assert ExternalLiveness(config(tmp_path, scale=1.5)).is_live(frame, FACE)
    assert not ExternalLiveness(config(tmp_path, scale=4.0)).is_live(frame, FACE)


@pytest.mark.parametrize(
    "box",
    [Box(500, 200, 200, 260), Box(-40, -30, 200, 260), Box(1_150, 600, 200, 260), Box(300, 0, 600, 720)],
)
@pytest.mark.parametrize("scale", [1.0, 2.7, 4.0])
def test_model_gets_a_square_that_contains_the_visible_face(box: Box, scale: float) -> None:
    """A clipped rectangle would be squashed into the square input of the model."""
    frame = painted(0, 0, 0)
    frame[..., 0] = np.arange(1280) % 251
    square = square_around(frame, Detection(box, FACE.landmarks, 0.9), scale)
    assert square.shape[0] == square.shape[1]
    assert square.shape[0] == min(720, round(scale * max(box.width_px, box.height_px)))
    left, right = max(0.0, box.x_px), min(1280.0, box.x_px + box.width_px)
    assert square.shape[0] >= min(720, right - left)


def test_is_live_of_a_face_outside_the_frame_is_false(tmp_path: Path) -> None:
    outside = Detection(Box(5_000, 0, 100, 100), FACE.landmarks, 0.9)
    assert not ExternalLiveness(config(tmp_path)).is_live(painted(0, 200, 0), outside)


@pytest.mark.parametrize(
    ("raw", "how", "code"),
    [
        (b"no model", {}, "model_unusable"),
        (colour_model()[:40], {}, "model_unusable"),
        (None, {"live_class": 3}, "model_unusable"),
        (None, {"sha256": "0" * 64}, "model_checksum"),
        (None, {"model": Path("/nowhere/liveness.onnx")}, "model_missing"),
    ],
    ids=["junk", "cut short", "no such class", "another file", "not there"],
)
def test_unusable_model_raises_at_the_start(
    tmp_path: Path, raw: bytes | None, how: dict[str, object], code: str
) -> None:
    with pytest.raises(ModelError) as caught:
        ExternalLiveness(config(tmp_path, raw, **how))
    assert caught.value.code == code
    assert "[liveness.veto]" in en(caught.value.fix)


def shot_of(pixels: Pixels) -> Shot:
    return Shot(Frame(pixels, 1, 0, 1280, 720), FACE, even(90), 1)


def test_crop_of_a_refused_shot_is_never_encoded(tmp_path: Path) -> None:
    analyzer = LocalFaceAnalyzer(
        VisionConfig(), PolicyLimits(), liveness_models=(ExternalLiveness(config(tmp_path)),)
    )
    assert analyzer.crop(shot_of(painted(0, 200, 0))).jpeg.startswith(b"\xff\xd8")
    with pytest.raises(LivenessError):
        analyzer.crop(shot_of(painted(0, 0, 200)))


@pytest.mark.parametrize(
    ("colour", "verdict", "liveness", "calls"),
    [
        ((0, 200, 0), "match/same_person", "not_checked", [1]),
        ((0, 0, 200), "undecided/liveness_failed", "failed", []),
    ],
    ids=["a pass proves no liveness", "a refusal ends without a call"],
)
async def test_on_the_terminal(
    tmp_path: Path, colour: tuple[int, int, int], verdict: str, liveness: str, calls: list[int]
) -> None:
    setup = TerminalSetup()
    real = LocalFaceAnalyzer(
        VisionConfig(), PolicyLimits(), liveness_models=(ExternalLiveness(config(tmp_path)),)
    )
    frame = painted(*colour)
    setup.analyzer.crop = lambda shot: real.crop(replace(shot, frame=replace(shot.frame, pixels=frame)))  # type: ignore[method-assign]
    ports = Ports(
        RealClock(), setup.camera, setup.analyzer, setup.compare, setup.till, setup.claim_store, check_frame
    )
    setup.terminal = Terminal(ports, Settings(EPOCH, LIMITS, 50, Assurance()))
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == verdict
    assert setup.claim_store.settled[0].assurance.liveness == liveness
    assert setup.compare.calls == calls
