"""What a start loads: what is not configured is not loaded, and nothing is loaded on a payer's time."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import pytest

from agent.cli import app, only
from agent.errors import ConfigError
from agent.health.process import loading
from agent.messages.keyring import OPERATORS, Keyring
from agent.messages.signing import Signer
from tests.e2e.agents import Place, running
from tests.e2e.test_diag import QUICK, WHO, asker

# nobody asked for a page, a diagnosis, a rollout, a till or a second program
NOT_AT_START = (
    *("agent.page", "agent.root.page", "starlette", "uvicorn"),
    *(
        "agent.root.remote",
        "agent.root.remote_doctor",
        "agent.messages.diagnosis",
        "agent.till.remote_diagnosis",
    ),
    *("agent.diagnostics.doctor", "agent.diagnostics.checks.table", "agent.diagnostics.checks"),
    *("agent.root.doctor", "agent.diagnostics.world", "agent.vision.detector_check"),
    *("agent.diagnostics.support_bundle", "agent.diagnostics.privacy", "agent.health.metrics"),
    *("agent.service", "agent.kits", "agent.demo", "picamera2", "rich", "iotcore"),
)
FLEET_AT_START = {"agent.fleet", "agent.fleet.machine", "agent.fleet.files"}  # is this the same machine?


def loaded(place: Place) -> set[str]:
    """Every module the agent has imported, by Python's own account."""
    lines = (place.folder / "agent.log").read_text().splitlines()
    return {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}


def below(modules: set[str], *packages: str) -> set[str]:
    return {each for each in modules if each in packages or each.startswith(tuple(f"{p}." for p in packages))}


async def test_what_is_not_configured_is_not_loaded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    async with running(place.config("nobody")):
        modules = loaded(place)
    assert {"agent.root.daemon", "agent.vision.face_analyzer", "cv2"} <= modules, (
        "else this test sees nothing"
    )
    assert below(modules, *NOT_AT_START) == set()
    assert below(modules, "agent.fleet") <= FLEET_AT_START


async def test_the_doctor_is_loaded_when_an_operator_asks_and_not_before(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer.generate()
    Keyring(place.folder / "state", OPERATORS).trust(WHO, signer.public)
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    doctors = ("agent.root.remote_doctor", "agent.diagnostics.checks.table", "agent.diagnostics.checks")
    async with running(place.config("nobody")):
        async with asyncio.timeout(10):
            while "agent.root.remote" not in loaded(place):  # noqa: ASYNC110 - a process of its own loads it
                await asyncio.sleep(0.05)
        assert below(loaded(place), *doctors) == set()
        await asker(place, signer).ask(QUICK)
        assert set(doctors) <= loaded(place)


def test_the_doctors_modules_are_loaded_in_his_thread_and_not_in_that_of_payments() -> None:
    code = """
import asyncio, sys, threading
from types import SimpleNamespace
from agent.config import Config
from agent.control.status import Now
from agent.health.counters import Counters
from agent.root.remote import RemoteDoctor
from agent.root.wiring import BootClock

class Watch:
    threads = set()
    def find_spec(self, name, path=None, target=None):
        if name.startswith("agent."):
            self.threads.add(threading.current_thread().name)

now = Now(1, (), Counters(), {}, True, 0)
running = SimpleNamespace(reload=SimpleNamespace(config=Config()), now=lambda _clock: now)
sys.meta_path.insert(0, Watch())
told = asyncio.run(RemoteDoctor(running, BootClock(), None).examine(("sys.memory",)))
print(told["schema"], sorted(Watch.threads))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "facepay.doctor/1 ['remote-doctor']", done.stderr


def test_a_call_that_names_its_command_builds_that_one_alone() -> None:
    assert [each.name for each in only("run").registered_commands] == ["run"]
    assert only("run").registered_groups == []
    assert [each.name for each in only("till").registered_groups] == ["till"]
    assert only("") is app and only("--help") is app and only("no-such") is app, "whole: it is to be shown"


def test_no_garbage_is_looked_for_while_modules_are_loaded_and_it_is_afterwards() -> None:
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ConfigError), loading():
        raise ConfigError("a wrong file")
    assert gc.isenabled()
    gc.unfreeze()
