"""OpenVINO gives the results of OpenCV, reports nothing to its vendor, and is used only while both agree."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from agent.core.model import Detection
from agent.core.policy import coordinates
from agent.errors import ModelError
from agent.service import networks, openvino_networks, openvino_sface
from agent.service.image_decoder import decode
from agent.service.networks import Networks, load_networks
from agent.service.openvino_networks import (
    CompiledNetworks,
    OpenVino,
    OpenVinoDetector,
    OpenVinoEmbedder,
)
from agent.service.recogniser import Recogniser
from agent.vision.detector import Detector
from agent.vision.embedding import SIDE_PX, Embedder, align
from tests.service.pictures import lying, photo

NAMES = ("biden_portrait", "collins_portrait", "obama_podium", "obama_portrait")
COSINE_MIN = 1 - 1e-4
PR_SET_MDWE = 65  # Linux 6.3; the kernel's form of MemoryDenyWriteExecute


@pytest.fixture(scope="module")
def plain() -> Networks:
    return Networks(Detector.load(), Embedder(), "OpenCV")


@pytest.fixture(scope="module")
def fast() -> Networks:
    return load_networks()[0]


def test_openvino_is_used_where_it_is_installed(fast: Networks) -> None:
    assert fast.library.startswith("OpenVINO")
    assert isinstance(fast.detector, OpenVinoDetector)
    assert isinstance(fast.embedder, OpenVinoEmbedder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", [photo, lambda name: lying(photo(name))], ids=["upright", "lying"])
def test_embeddings_of_photographs_are_those_of_opencv(
    fast: Networks, plain: Networks, name: str, form: Any
) -> None:
    ours, theirs = (Recogniser(each).embed_reference(form(name)) for each in (fast, plain))
    assert ours.faces == theirs.faces
    assert float(ours.vector @ theirs.vector) >= COSINE_MIN


@pytest.mark.parametrize("width_px", [100, 160, 320, 960])
def test_faces_are_those_of_opencv(fast: Networks, plain: Networks, width_px: int) -> None:
    alone = decode(photo("obama_podium"))[:640]
    crowd = np.hstack([alone[:320], alone[:320, ::-1], alone[:320]])
    for number, picture in enumerate((alone, crowd, np.zeros_like(alone), alone[:200, :301])):
        ours, theirs = (each.detector.detect(picture, width_px) for each in (fast, plain))
        again = [each.detector.detect(picture, width_px) for each in (fast, plain)]
        assert len(ours) == len(theirs), (number, ours, theirs, "second run:", again)
        for one, other in zip(ours, theirs, strict=True):
            assert np.allclose(coordinates(one.landmarks), coordinates(other.landmarks), atol=0.01)
            assert np.allclose([one.box.area_px, one.confidence], [other.box.area_px, other.confidence], 1e-3)


def test_many_sizes_compile_a_limited_number_of_networks(
    plain: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_networks, "_SIZES_MAX", 1)
    compiled = CompiledNetworks(OpenVino(threads=1))
    detector = OpenVinoDetector(compiled, threads=1)
    picture = decode(photo("obama_portrait"))
    for width_px in (160, 128, 224, 192, 160):
        assert len(detector.detect(picture, width_px)) == len(plain.detector.detect(picture, width_px)) == 1
    assert len(compiled._detectors) == 1
    assert compiled.detector(960, 960) is None


def share_of_this_thread(networks: Networks) -> float:
    """Share of the CPU time of the process that this thread takes for some embeddings."""
    aligned = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    start_s, process_start_s = time.thread_time(), time.process_time()
    for _ in range(5):
        networks.embedder.describe(aligned)
    return (time.thread_time() - start_s) / (time.process_time() - process_start_s)


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[Networks, ...]]:
    """The networks of two workers, not those of the test session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "OpenVino", OpenVino)
        patch.setattr(networks, "CompiledNetworks", CompiledNetworks)
        yield load_networks(workers=2)


def test_networks_of_several_workers_run_in_the_threads_of_the_workers(workers: tuple[Networks, ...]) -> None:
    """In threads of the library, two workers had 1.2 times the answers of one."""
    for worker in workers:
        assert worker.library.startswith("OpenVINO")
        share_of_this_thread(worker)
        assert share_of_this_thread(worker) > 0.5


def test_networks_of_two_workers_give_the_same_faces_and_vectors(workers: tuple[Networks, ...]) -> None:
    one, other = workers
    assert one.embedder is not other.embedder and one.detector is not other.detector
    picture = decode(photo("obama_podium"))

    def found(networks: Networks) -> tuple[tuple[Detection, ...], list[Any]]:
        faces = networks.detector.detect(picture)
        return faces, [networks.embedder.describe(align(picture, face)) for face in faces]

    def assert_same(results: Iterable[tuple[tuple[Detection, ...], list[Any]]]) -> None:
        for faces, vectors in results:
            assert faces == expected[0]
            assert all(np.array_equal(*pair) for pair in zip(vectors, expected[1], strict=True))

    expected = found(one)
    assert expected[0] and all(vector is not None for vector in expected[1])
    assert_same([found(other)])
    with ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            assert_same(threads.map(found, workers))
        for worker in workers:
            worker.release_buffers()
        assert_same(threads.map(found, workers))


class Failing:
    """A request whose run fails, as of OpenVINO without memory."""

    def infer(self) -> None:
        raise RuntimeError("no memory")


def test_a_run_that_fails_is_a_model_error_and_leaves_no_picture() -> None:
    compiled = CompiledNetworks(OpenVino(threads=1))
    detector, embedder = OpenVinoDetector(compiled, threads=1), OpenVinoEmbedder(compiled)
    picture = np.full((320, 320, 3), 9, np.uint8)
    assert detector.detect(picture) == ()
    ((size, (_, padded)),) = detector._requests.items()
    detector._requests[size] = Failing(), padded
    with pytest.raises(ModelError, match="no memory"):
        detector.detect(picture)
    embedder._request = Failing()
    with pytest.raises(ModelError, match="no memory"):
        embedder.describe(picture[:SIDE_PX, :SIDE_PX])
    assert not padded.any()
    assert not embedder._input.any()


def test_input_buffers_are_empty_after_a_run(fast: Networks) -> None:
    picture = decode(photo("obama_portrait"))
    face = fast.detector.detect(picture)[0]
    assert fast.embedder.describe(align(picture, face)) is not None
    fast.detector.wipe()
    assert isinstance(fast.embedder, OpenVinoEmbedder)
    assert isinstance(fast.detector, OpenVinoDetector)
    assert not fast.embedder._input.any()
    assert fast.detector._requests
    assert not any(padded.any() for _, padded in fast.detector._requests.values())


def test_another_embedding_than_that_of_opencv_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "OpenVino", OpenVino)  # not the one of the test session
    monkeypatch.setattr(networks, "CompiledNetworks", CompiledNetworks)
    monkeypatch.setattr(openvino_sface, "_EPSILON_OF_OTHERS", 0.1)
    assert load_networks()[0].library.startswith("OpenCV")


def test_without_openvino_opencv_runs_the_networks_of_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "OpenVino", OpenVino)  # not the one of the test session
    monkeypatch.setitem(sys.modules, "openvino", None)
    one, other = load_networks(workers=2)
    assert one.library.startswith("OpenCV")
    assert one.detector is not other.detector
    assert one.embedder is not other.embedder


def test_networks_fail_over_to_opencv_when_the_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("unsupported processor")

    monkeypatch.setattr(networks, "_openvino_networks", refuse)
    assert load_networks()[0].library.startswith("OpenCV")


_LOAD = """
import ctypes, json, sys
seen = []
sys.addaudithook(lambda name, _: seen.append(name) if name.startswith(("socket.", "subprocess.")) else None)
if "--deny" in sys.argv:
    ctypes.CDLL(None).prctl({mdwe}, 1, 0, 0, 0)
from agent.service.networks import load_networks
library = load_networks()[0].library
reporting = [name for name, module in sys.modules.items() if "telemetry" in name and module is not None]
print(json.dumps([library, sorted(set(seen)), reporting]))
""".replace("{mdwe}", str(PR_SET_MDWE))


def loaded(*arguments: str) -> tuple[str, list[str], list[str]]:
    """(library, sockets and programs that were used, modules that report) of a new process."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, *arguments], check=True, capture_output=True, text=True, timeout=120
    )
    library, seen, reporting = json.loads(done.stdout)
    return library, seen, reporting


def test_the_import_reports_nothing_to_the_vendor() -> None:
    library, seen, reporting = loaded()
    assert library.startswith("OpenVINO")
    assert seen == []
    assert reporting == []


def test_where_code_must_not_be_made_at_run_time_opencv_runs_the_networks() -> None:
    if ctypes.CDLL(None).prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    library, _, _ = loaded("--deny")
    assert library.startswith("OpenCV")
