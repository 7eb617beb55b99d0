"""The modules that a start loads: only configured parts, and no import during a verification."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import pytest

from agent.cli.command_table import COMMANDS, application
from agent.config import Config
from agent.config.file import Section
from agent.errors import ConfigError
from agent.health.process import imports_without_gc
from agent.messages.keyring import OPERATORS, Keyring
from agent.messages.signing import Signer
from tests.e2e.agents import Place, running
from tests.e2e.test_diag import QUICK, WHO, client_of

# modules of the page, the diagnosis, rollouts, the till tools and other programs
NOT_AT_START = (
    *("agent.page", "agent.root.page", "starlette", "uvicorn"),
    *(
        "agent.root.remote",
        "agent.root.remote_doctor",
        "agent.messages.diagnosis",
        "agent.till.remote_diagnosis",
    ),
    *("agent.diagnostics.doctor", "agent.diagnostics.checks.table", "agent.diagnostics.checks"),
    *(
        "agent.root.doctor",
        "agent.diagnostics.check_inputs",
        "agent.vision.detector_check",
        "agent.vision.passive",
    ),
    *("agent.diagnostics.support_bundle", "agent.diagnostics.privacy", "agent.health.metrics"),
    *("agent.service", "agent.kits", "agent.demo", "picamera2", "rich", "iotcore"),
)
FLEET_AT_START = {"agent.fleet", "agent.fleet.machine"}  # detection of a copied card


def loaded(place: Place) -> set[str]:
    """Every module that the agent has imported, from Python's import log."""
    lines = (place.folder / "agent.log").read_text().splitlines()
    return {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}


def below(modules: set[str], *packages: str) -> set[str]:
    return {each for each in modules if each in packages or each.startswith(tuple(f"{p}." for p in packages))}


async def test_what_is_not_configured_is_not_loaded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    async with running(place.config("empty"), fresh=True):
        modules = loaded(place)
    assert {"agent.root.daemon", "agent.vision.face_analyzer", "cv2"} <= modules, (
        "otherwise this test shows nothing"
    )
    assert below(modules, *NOT_AT_START) == set()
    assert below(modules, "agent.fleet") <= FLEET_AT_START


async def test_doctor_is_loaded_by_the_first_remote_diagnosis(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer.generate()
    Keyring(place.folder / "state", OPERATORS).trust(WHO, signer.public)
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    doctors = ("agent.root.remote_doctor", "agent.diagnostics.checks.table", "agent.diagnostics.checks")
    async with running(place.config("empty"), fresh=True):
        async with asyncio.timeout(60):
            while "agent.root.remote" not in loaded(place):  # noqa: ASYNC110 - another process loads it
                await asyncio.sleep(0.05)
        assert below(loaded(place), *doctors) == set()
        await client_of(place, signer).request_report(QUICK)
        assert set(doctors) <= loaded(place)


def test_remote_doctor_imports_its_modules_in_its_own_thread() -> None:
    code = """
import asyncio, sys, threading
from types import SimpleNamespace
from agent.config import Config
from agent.control.status import StatusFacts
from agent.health.counters import Counters
from agent.root.remote import diagnose
from agent.root.wiring import BootClock

class Watch:
    threads = set()
    def find_spec(self, name, path=None, target=None):
        if name.startswith("agent."):
            self.threads.add(threading.current_thread().name)

now = StatusFacts(1, (), Counters(), {}, True, 0)
running = SimpleNamespace(reload=SimpleNamespace(config=Config()), now=lambda _clock: now)
sys.meta_path.insert(0, Watch())
report = asyncio.run(diagnose(running, BootClock(), None, ("sys.memory",)))
print(report["schema"], sorted(Watch.threads))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "facepay.doctor/1 ['remote-doctor']", done.stderr


def test_application_builds_the_named_command() -> None:
    assert [each.name for each in application("run").registered_commands] == ["run"]
    assert application("run").registered_groups == []
    assert [each.name for each in application("till").registered_groups] == ["till"]
    for name in ("", "--help", "no-such"):
        whole = application(name)
        assert len(whole.registered_commands) + len(whole.registered_groups) == len(COMMANDS)


def test_command_imports_no_module_of_another_command() -> None:
    code = (
        "import sys; from agent.cli.command_table import application; application('run');"
        "print(*(name for name in sys.modules if name.startswith('agent.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.removeprefix("agent.cli.") for name in done.stdout.split()}
    assert loaded == {"command_table", "run", "config", "options"}


def test_imports_without_gc_disables_garbage_collection_only_during_imports() -> None:
    gc.collect()  # no garbage is frozen; the objects of conftest stay frozen
    with imports_without_gc():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ConfigError), imports_without_gc():
        raise ConfigError("a wrong file")
    assert gc.isenabled()


def test_only_the_configured_camera_and_api_are_imported() -> None:
    """Before READY: a module that is imported later could belong to another version after an upgrade."""
    code = """
import sys
from agent.config import CameraConfig, CompareConfig, Config
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock, make_compare, make_face_analyzer
CHOICES = ("agent.camera.simulated", "agent.camera.v4l2", "agent.camera.picamera", "agent.camera.video",
           "agent.compare.face2018_client", "agent.compare.compareface", "agent.vision.external_liveness")
has = lambda choice: any((name + ".").startswith(choice + ".") for name in sys.modules)
chosen = lambda: sorted(filter(has, CHOICES))
import agent.root.daemon
print(chosen())
make_camera(CameraConfig(kind="v4l2", source="/dev/video0"), BootClock())
account = CompareConfig(secret_key_file="key", appid="1250000001", secret_id="id")
config = Config(profile="demo", compare=account)
make_compare(config, BootClock())
make_face_analyzer(config)
print(chosen())
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[]", "['agent.camera.v4l2', 'agent.compare.face2018_client']"], (
        done.stderr
    )


def test_no_plugin_of_another_package_is_searched_for_the_config() -> None:
    """pydantic reads the metadata of every installed package for that, at the first model."""
    code = """
import importlib.metadata
def entry_points(**kinds):
    raise AssertionError("the metadata of all packages was read")
importlib.metadata.entry_points = entry_points
from agent.config import Config
print(Config().mqtt.port)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "1883", done.stderr


def test_a_default_section_is_the_section_that_an_empty_table_makes() -> None:
    """The defaults are made without validation, so they must equal the validated ones."""
    whole = Config()
    for name, field in Config.model_fields.items():
        if isinstance(field.default, Section):
            assert getattr(whole, name) == type(field.default).model_validate({}), name
            assert getattr(whole, name).model_dump() == type(field.default)().model_dump(), name


@pytest.mark.parametrize("is_one", [True, False])
def test_threads_share_one_heap(is_one: bool) -> None:
    """glibc reserves 64 MiB of addresses for each further heap; the part that is not used is unreadable."""
    code = f"""
import ctypes, threading
from pathlib import Path
from agent.health.process import use_one_heap
if {is_one}:
    assert use_one_heap()
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
barrier = threading.Barrier(5)
def allocate():
    block = malloc(50_000)
    barrier.wait()  # all threads live at the same time
    free(block)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
barrier.wait()
reserved = 0
for line in Path("/proc/self/maps").read_text().splitlines():
    first, last = (int(number, 16) for number in line.split()[0].split("-"))
    reserved += "---p" in line and len(line.split()) == 5 and 60 * 2**20 < last - first < 64 * 2**20
print(reserved)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (int(done.stdout or -1) == 0) is is_one, done.stdout + done.stderr


def test_free_memory_between_objects_in_use_is_returned() -> None:
    code = """
from agent.health.process import process_facts, return_free_memory, use_one_heap
use_one_heap()
blocks = [bytes(2_000) for _ in range(20_000)]
kept = blocks[::50]
end = bytes(2_000)  # in use at the end of the heap: nothing is returned before
del blocks
before = process_facts()["rss_bytes"]
assert return_free_memory()
print(before - process_facts()["rss_bytes"])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert int(done.stdout or 0) > 20e6, done.stdout + done.stderr
