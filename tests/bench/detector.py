"""The face analyzer's time per 1280×720 frame on one thread, and its shots of images without a face."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import cv2
import numpy as np

from agent.camera.fitting import Pixels
from agent.config import PolicyConfig, VisionConfig
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.vision.detector import Detector
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.luma import PresenceGate, sample
from agent.vision.models import YUNET, locate
from agent.vision.quality import measure
from tests.bench.frames import EMPTY_SCENE, HEIGHT_PX, WIDTH_PX, drawn, frame
from tests.bench.report import Section, spread

LIMITS = PolicyLimits(**PolicyConfig().model_dump())
INPUT_PX = VisionConfig().detector_width_px
BARE = "bare YuNet on the frame at its input size"
WHOLE = "analysis of a whole frame (luma, detection, measures, gates)"
FOLLOWED = "analysis of a followed face"
PORTRAIT = "analysis of a whole portrait frame"
GATE = "the presence gate, without a person"
ROUNDS = 10  # all figures in turn: the speed of a machine changes within seconds, and the goals are ratios
STEP_MS = 100  # between two frames: one whole-frame analysis after three followed frames


def _empty_images(count: int) -> list[Pixels]:
    """Images without a face: noise, stripes and empty scenes."""
    random = np.random.default_rng(7)
    noise = [random.integers(0, 255, (HEIGHT_PX, WIDTH_PX, 3), np.uint8) for _ in range(count // 4)]
    ramp = np.linspace(0, 255, WIDTH_PX)[None, :] + np.linspace(0, 64, HEIGHT_PX)[:, None]
    stripes = [
        np.repeat(((ramp * factor) % 256).astype(np.uint8)[:, :, None], 3, axis=2)
        for factor in np.linspace(0.5, 20, count // 4)
    ]
    return [*noise, *stripes, *drawn(EMPTY_SCENE, count=count // 2)]


def _times(work: Callable[[int], object], count: int) -> list[float]:
    """CPU time of each call in ms: another program on the same core does not count."""
    spent_ms = []
    for number in range(count):
        start_s = time.thread_time()
        work(number)
        spent_ms.append((time.thread_time() - start_s) * 1e3)
    return spent_ms


def analyze_marked(analyzer: LocalFaceAnalyzer, pictures: list[Pixels], mark: Callable[[str], None]) -> None:
    """Analyze frames of a standing payer. ``mark`` is called before the first frame, and after each frame
    with ``whole`` or ``followed``.
    """
    analyzer.begin(0)
    mark("")
    for number, picture in enumerate(pictures):
        high, wide = picture.shape[:2]
        reason = analyzer.analyze(Frame(picture, number + 1, STEP_MS * number, wide, high)).reason
        mark("followed" if reason is FrameReason.FOLLOWED else "whole")


def analyze_standing(
    analyzer: LocalFaceAnalyzer, pictures: list[Pixels], count: int
) -> tuple[list[float], list[float]]:
    """(whole-frame, followed-face) analysis times of a standing payer, in ms of CPU time."""
    spent_ms = dict[str, list[float]]({"": [], "whole": [], "followed": []})
    last_s = time.thread_time()

    def mark(kind: str) -> None:
        nonlocal last_s
        now_s = time.thread_time()
        spent_ms[kind].append((now_s - last_s) * 1e3)
        last_s = now_s

    analyze_marked(analyzer, [pictures[number % len(pictures)] for number in range(count)], mark)
    return spent_ms["whole"], spent_ms["followed"]


def make() -> LocalFaceAnalyzer:
    """The analyzer of an agent with the default config."""
    return LocalFaceAnalyzer(VisionConfig(), LIMITS)


def turned(picture: Pixels) -> Pixels:
    """A portrait frame of the same size that shows the middle of the picture at the same scale.

    The band above and below repeats the edge of the picture.
    """
    left = (WIDTH_PX - HEIGHT_PX) // 2
    middle, band = picture[:, left : left + HEIGHT_PX], (WIDTH_PX - HEIGHT_PX) // 2
    return np.asarray(cv2.copyMakeBorder(middle, band, band, 0, 0, cv2.BORDER_REPLICATE), np.uint8)


def bare_yunet(pictures: list[Pixels]) -> Callable[[int], object]:
    """OpenCV's detector alone, on the same frames, scaled before to the input size of the analyzer."""
    size = INPUT_PX, INPUT_PX * HEIGHT_PX // WIDTH_PX
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    net = cv2.FaceDetectorYN.create(str(locate(YUNET)), "", size, VisionConfig().confidence, 0.3, 64)
    return lambda number: net.detect(small[number % len(small)])


def run(*, quick: bool) -> Section:
    section = Section("face analyzer, 1280x720, one thread (ms)")
    count = 40 if quick else 1_000
    pictures = drawn("one_obama_portrait", count=20)
    detector, analyzer = Detector.load(), make()
    (face,) = detector.detect(pictures[0])
    empty = drawn(EMPTY_SCENE, count=20)
    gate, first = PresenceGate(), sample(empty[0])
    assert first is not None
    gate.learn(first)

    def presence(number: int) -> None:
        luma = sample(empty[number % 20])
        assert luma is not None
        gate.is_present(luma)

    works: dict[str, Callable[[int], object]] = {
        "detection": lambda n: detector.detect(pictures[n % 20]),
        "the ten measures of a face": lambda n: measure(pictures[n % 20], face),
        BARE: bare_yunet(pictures),
        GATE: presence,
    }
    portraits, upright = [turned(picture) for picture in pictures], make()
    parts = defaultdict[str, list[float]](list)
    for _ in range(ROUNDS):
        for name, work in works.items():
            parts[name] += _times(work, count // ROUNDS)
        whole, followed = analyze_standing(analyzer, pictures, count // ROUNDS)
        parts[WHOLE] += whole
        parts[FOLLOWED] += followed
        parts[PORTRAIT] += analyze_standing(upright, portraits, count // ROUNDS)[0]
    section.rows += [{"what": name, **spread(spent_ms, 3)} for name, spent_ms in parts.items()]
    p50 = {row["what"]: row["p50"] for row in section.rows}
    section.measure("whole_look", p50[WHOLE], p50[BARE])
    section.measure("followed_look", p50[FOLLOWED], p50[WHOLE])
    section.measure("portrait_look", p50[PORTRAIT], p50[WHOLE])
    section.measure("presence_gate", p50[GATE], p50[BARE])
    empty_images = _empty_images(8 if quick else 80)
    analyzer.begin(0)
    analyses = [analyzer.analyze(frame(picture, n + 1, 400 * n)) for n, picture in enumerate(empty_images)]
    shots = sum(analysis.shot is not None for analysis in analyses)
    section.rows.append(
        {"what": "shots of noise, stripes and an empty shop", "found": shots, "n": len(empty_images)}
    )
    section.notes += [
        "a face of 0.3 of the frame's height; every third or fourth analysis is of the whole frame",
        "bare YuNet runs in a loop on frames that were scaled before; between other work it takes 3 % longer",
    ]
    return section
