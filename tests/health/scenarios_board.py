"""Faults of the files and models of a terminal."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import cv2
import pytest

from agent.camera.simulated.scene import load_scene
from agent.compare.base import CompareClient
from agent.errors import TillError
from agent.fleet import machine
from agent.health.result_meter import VERIFICATIONS_MIN
from agent.health.upgrades import read_upgrades
from agent.outbox import outbox
from agent.outbox.database import FILE
from agent.root import background_jobs, opener, self_checks
from agent.terminal.parts import Ports
from tests.health.stage import LONG_LIMITS, Scenario, Stage


class Net:
    """Wrapper of the detector's OpenCV network; raises ``cv2.error`` while ``broken``."""

    def __init__(self, net: Any) -> None:
        self._net = net
        self.broken = True

    def detect(self, picture: object) -> Any:
        if self.broken:
            cv2.resize(None, (1, 1))  # type: ignore[call-overload] # a real cv2.error
        return self._net.detect(picture)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


@asynccontextmanager
async def detector_network_raises(stage: Stage) -> AsyncIterator[None]:
    nets: list[Net] = []

    def adapt(ports: Ports) -> Ports:
        analyzer: Any = ports.analyzer
        for finder in (analyzer.detector, analyzer._follower._detector):
            finder._net = Net(finder._net)
            nets.append(finder._net)
        return ports

    stage.adapt = adapt
    await stage.start()
    assert await stage.verify() == "undecided/model_unusable"
    yield
    for net in nets:
        net.broken = False
    assert await stage.verify() == "match/same_person"


@asynccontextmanager
async def outbox_is_locked_by_another_program(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    with closing(sqlite3.connect(stage.place.storage / FILE)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            await stage.verify()
        except TillError as refused:
            assert refused.code == "storage_unavailable"
        yield
    assert await stage.verify() == "match/same_person"


@asynccontextmanager
async def each_write_of_the_outbox_is_slow(stage: Stage) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background_jobs, "STORAGE_EVERY_S", 0.1)
        await stage.start()
        patch.setattr(outbox, "SLOW_S", 0.0)
        for _ in range(2):  # each with two writes
            assert await stage.verify() == "match/same_person"
        yield
        patch.setattr(outbox, "SLOW_S", 600.0)
        await stage.until(lambda: not stage.causes())


@asynccontextmanager
async def api_client_raises_an_exception_of_a_bug(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    with pytest.MonkeyPatch.context() as patch:

        async def prepare(*_: object) -> None:
            raise ZeroDivisionError

        patch.setattr(CompareClient, "prepare", prepare)
        for _ in range(VERIFICATIONS_MIN):
            assert await stage.verify() == "undecided/internal_error"
        yield
    assert await stage.verify() == "match/same_person"


@asynccontextmanager
async def outbox_is_damaged_by_a_power_cut(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.verify()
    await stage.stop()
    path = stage.place.storage / FILE
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])
    await stage.start()
    yield
    await stage.stop()
    await stage.start()  # the condition clears at the next start


@asynccontextmanager
async def reloaded_config_has_a_mistyped_key(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    path = stage.place.write()
    limits = "".join(f"{key} = {value}\n" for key, value in LONG_LIMITS.items())
    right = f"{path.read_text()}\n[verification]\n{limits}"  # of the running agent: they cannot be reloaded
    path.write_text(right.replace("[mqtt]", "[mqtt]\nhots = 'x'"))
    await stage.running.reload.apply_file(path)
    yield
    path.write_text(right)
    await stage.running.reload.apply_file(path)


@asynccontextmanager
async def memory_card_is_moved_to_another_board(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.stop()
    (stage.place.storage / machine.FILE).write_text("0" * 64)
    with pytest.MonkeyPatch.context() as patch:  # this machine may have no id
        patch.setattr(machine, "fingerprint", lambda _root: "1" * 64)
        await stage.start()
        yield
        machine.bind_to_machine(stage.place.storage)
        await stage.stop()
        await stage.start()


def board_reports(name: str, sick: object, healthy: object) -> Scenario:
    """A value that the agent reads from the machine."""

    @asynccontextmanager
    async def scenario(stage: Stage) -> AsyncIterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self_checks, "BOARD_EVERY_S", 0.1)
            patch.setattr(self_checks, name, lambda *_: sick)
            await stage.start()
            yield
            patch.setattr(self_checks, name, lambda *_: healthy)
            await stage.until(lambda: not stage.causes())

    return scenario


def upgrade_stores(name: str, line: str) -> Scenario:
    """A file of facepay-after-upgrade, which deletes the file after a good upgrade."""

    @asynccontextmanager
    async def scenario(stage: Stage) -> AsyncIterator[None]:
        file = stage.place.root / "var/lib/facepay-upgrade" / name
        file.parent.mkdir(parents=True)
        file.write_text(line)
        index = stage.place.root / "var/lib/apt/lists/facepay.example_InRelease"
        index.parent.mkdir(parents=True)
        index.write_text("Origin: facepay\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self_checks, "UPGRADES_EVERY_S", 0.1)
            patch.setattr(self_checks, "read_upgrades", lambda: read_upgrades(stage.place.root))
            await stage.start()
            yield
            file.unlink()
            await stage.until(lambda: not stage.causes())

    return scenario


@asynccontextmanager
async def another_person_fails_until_the_terminal_pauses(stage: Stage) -> AsyncIterator[None]:
    stage.config["guard"] = {"failures": 1, "pause_ms": 3_600_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(self_checks, "BOARD_EVERY_S", 0.05)
        await stage.start()
        stage.cable.show(load_scene("one_biden_portrait"))
        assert await stage.verify() == "no_match/different_person"
        assert await stage.verify() == "undecided/attempt_limit"
        yield
        stage.running.terminal.budget._attempts._paused_until_ms.clear()  # the pause ends without a request
        await stage.until(lambda: not stage.causes())


def another_program_has_the_port(section: str) -> Scenario:
    @asynccontextmanager
    async def scenario(stage: Stage) -> AsyncIterator[None]:
        with socket.socket() as other, pytest.MonkeyPatch.context() as patch:
            patch.setattr(opener, "AGAIN_S", 0.1)
            other.bind(("127.0.0.1", 0))
            other.listen()
            stage.config[section] = {"listen": "loopback", "port": other.getsockname()[1]}
            await stage.start()
            yield
            other.close()
            await stage.until(lambda: not stage.causes())

    return scenario


SCENARIOS: dict[str, Scenario] = {
    "attempts_paused": another_person_fails_until_the_terminal_pauses,
    "model_unusable": detector_network_raises,
    "storage_slow": each_write_of_the_outbox_is_slow,
    "verifications_failing": api_client_raises_an_exception_of_a_bug,
    "storage_unavailable": outbox_is_locked_by_another_program,
    "config_refused": reloaded_config_has_a_mistyped_key,
    "machine_changed": memory_card_is_moved_to_another_board,
    "outbox_reset": outbox_is_damaged_by_a_power_cut,
    "terminal_hot": board_reports("hottest_c", 91.0, 40.0),
    "open_files_high": board_reports("files_shortage", "1000 of 1024 files open", ""),
    "disk_low": board_reports("shortage", "0 MB free", ""),
    "upgrade_failed": upgrade_stores("failed", "returned 0.2.0+deb12 0.3.0+deb12"),
    "upgrade_missing": upgrade_stores("waiting", "0.2.0+deb12 0.3.0+deb12 1767225600"),
    "page_unavailable": another_program_has_the_port("page"),
    "display_unavailable": another_program_has_the_port("display"),
}
