"""Fixtures for the tests of all folders."""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tests.compiled_modules import ROOT, compile_part
from tests.contract import wire

if TYPE_CHECKING:
    from tests.brokers import Mosquitto

# A folder of a test adds up to 83 characters, and a state directory may have 95: room for a Unix socket.
if len(tempfile.gettempdir()) > 10:
    os.environ["PYTEST_DEBUG_TEMPROOT"] = "/tmp"
gc.disable()  # until the tests are collected: their modules are no garbage
# No property fails on a busy machine: neither an example nor its generation has a time limit. CI uses the
# same examples each time.
settings.register_profile(
    "steady",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("steady")

wire.watch()
# their assertions show the compared values, as those of a test module
pytest.register_assert_rewrite("tests.health", "tests.e2e", "tests.cluster")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass ``--dist`` to a worker of pytest-xdist, where the option is always ``no``."""
    node.workerinput["dist"] = node.config.getoption("dist")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """A worker of pytest-xdist compiles its part of the modules before it collects the tests."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None:
        paths = [ROOT / "agent", *(session.startpath / arg.partition("::")[0] for arg in session.config.args)]
        compile_part(paths, int(worker["workerid"].removeprefix("gw")), worker["workercount"])


@pytest.hookimpl(trylast=True)  # after the deselection by marks, which changes the parts of the workers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The order of ``tests.slow_first`` in a worker of pytest-xdist: each worker collects the same order."""
    worker = getattr(config, "workerinput", {"dist": "no"})
    if worker["dist"] == "worksteal":
        from tests.slow_first import slow_first

        items[:] = slow_first(items, worker["workercount"])


def pytest_collection_finish() -> None:
    """Exclude the modules and the collected tests from garbage collection.

    They live until the end. With them, a full collection is rare: the pictures of ended agents stayed in
    unreachable cycles, 80 MB for each agent.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def bounded_memory(memory_after_collection: list[int]) -> Iterator[None]:
    """Return memory after tests that left 100 MB: pictures in cycles, and freed pages of the C library."""
    yield
    if _memory_bytes() > memory_after_collection[0] + 100e6:
        from agent.health.process import return_free_memory

        gc.collect()
        return_free_memory()
        memory_after_collection[0] = _memory_bytes()


@pytest.fixture(scope="session")
def memory_after_collection() -> list[int]:
    return [_memory_bytes()]


def _memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="session", autouse=True)
def sface_loaded_once() -> Iterator[None]:
    """SFace loaded once for all compare services and doctors of this process: a load takes 0.2 s of CPU."""
    with pytest.MonkeyPatch.context() as patch:
        if "agent.service.networks" in sys.modules:
            from agent.service import networks
            from agent.service.openvino_networks import OpenVino
            from tests.service.loaded_once import CompiledOnce, LoadedOnce

            patch.setattr(networks, "Embedder", LoadedOnce)
            patch.setattr(networks, "OpenVino", cache(OpenVino))
            patch.setattr(networks, "CompiledNetworks", cache(CompiledOnce))
        if "agent.vision.detector_check" in sys.modules:
            from agent.vision import detector_check
            from tests.service.loaded_once import LoadedOnce

            patch.setattr(detector_check, "Embedder", LoadedOnce)
        yield


@pytest.fixture(scope="session", autouse=True)
def people_cut_out_once() -> Iterator[None]:
    """Each photograph cut out once for all simulated cameras of this process: three take 0.15 s of CPU."""
    with pytest.MonkeyPatch.context() as patch:
        if "agent.camera.simulated.renderer" in sys.modules:
            from agent.camera.simulated import renderer
            from agent.camera.simulated.cutout import Cutout

            patch.setattr(renderer, "Cutout", cache(Cutout))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A temporary folder for this run, so that no audit finds files of killed programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With ``--dist loadfile``: the units of work of the long tests; otherwise those of xdist."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    from tests.work_units import unit_of

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = unit_of
    return scheduler


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each ``figure`` that a test recorded, also when all tests pass."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A running mosquitto, one for each test module."""
    from tests.brokers import Mosquitto

    made = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def restored_log_levels() -> Iterator[None]:
    """Restore the log levels: a command in this process changes them, e.g. the doctor."""
    before = {name: logger.level for name, logger in _loggers().items()}
    yield
    for name, logger in _loggers().items():
        logger.setLevel(before.get(name, logging.NOTSET))


def _loggers() -> dict[str, logging.Logger]:
    known = logging.root.manager.loggerDict
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}


@pytest.fixture(autouse=True)
def valid_terminal_messages(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a terminal publishes or a connection receives a message outside the contract.

    Tests publish invalid messages as tills intentionally; but a message that a terminal accepts from a till
    must be in the contract, too. A test marked ``forged`` changes messages of a terminal intentionally.
    """
    wire.broken.clear()
    yield
    if request.node.get_closest_marker("forged") is None:
        assert not wire.broken, wire.broken
