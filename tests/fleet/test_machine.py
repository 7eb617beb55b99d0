"""The machine identity: a card copied to another machine is detected; another system image is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.fleet import machine
from agent.health.conditions_board import MACHINE_CHANGED
from tests.texts import zh


def machine_root(folder: Path, *, serial: bytes = b"", machine_id: str = "") -> Path:
    (folder / "proc/device-tree").mkdir(parents=True)
    (folder / "etc").mkdir()
    if serial:
        (folder / "proc/device-tree/serial-number").write_bytes(serial)
    if machine_id:
        (folder / "etc/machine-id").write_text(f"{machine_id}\n")
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


PI = b"100000003d1d1c36\0"


def test_a_copied_card_is_detected_until_the_state_is_bound_to_the_machine(
    tmp_path: Path, state: Path
) -> None:
    first = machine_root(tmp_path / "a", serial=PI)
    other = machine_root(tmp_path / "b", serial=b"10000000aaaaaaaa\0")
    assert machine.is_of_this_machine(state, first) and machine.is_of_this_machine(state, first)
    assert not machine.is_of_this_machine(state, other) and not machine.is_of_this_machine(state, other)
    machine.bind_to_machine(state, other)
    assert machine.is_of_this_machine(state, other) and not machine.is_of_this_machine(state, first)
    assert zh(MACHINE_CHANGED.fix)


def test_with_a_serial_number_the_machine_id_is_ignored(tmp_path: Path, state: Path) -> None:
    assert machine.is_of_this_machine(state, machine_root(tmp_path / "a", serial=PI, machine_id="aa" * 16))
    assert machine.is_of_this_machine(state, machine_root(tmp_path / "b", serial=PI, machine_id="bb" * 16))


def test_without_a_serial_number_the_machine_id_decides(tmp_path: Path, state: Path) -> None:
    assert machine.is_of_this_machine(state, machine_root(tmp_path / "a", machine_id="aa" * 16))
    assert not machine.is_of_this_machine(state, machine_root(tmp_path / "b", machine_id="bb" * 16))
    assert ("aa" * 16) not in (state / machine.FILE).read_text(), "the machine id is hashed"


def test_an_unknown_machine_belongs_to_every_state(tmp_path: Path, state: Path) -> None:
    nothing = machine_root(tmp_path / "a")
    assert machine.is_of_this_machine(state, nothing) and not (state / machine.FILE).exists()
    assert machine.terminal_id(nothing) == ""


@pytest.mark.parametrize("odd", [b"0000000000000000\0", b"../../etc\0", b"\xff\xfe", b"x" * 500])
def test_an_invalid_serial_number_does_not_become_an_id(tmp_path: Path, odd: bytes) -> None:
    root = machine_root(tmp_path / "a", serial=odd, machine_id="cc" * 16)
    assert machine.terminal_id(root).startswith("t-") and len(machine.terminal_id(root)) == 18
    assert machine.serial_number(root) == ""


def test_a_pi_is_named_by_its_serial_number(tmp_path: Path) -> None:
    assert machine.terminal_id(machine_root(tmp_path / "a", serial=PI)) == "pi-100000003d1d1c36"


@pytest.mark.parametrize("text", ["uninitialized", "", "0" * 32, "aa", "g" * 32])
def test_the_machine_id_of_a_new_image_is_not_an_identity(tmp_path: Path, state: Path, text: str) -> None:
    """systemd writes ``uninitialized`` into an image; a machine keeps this text until its first boot ends."""
    fresh = machine_root(tmp_path / "a", machine_id=text)
    assert machine.terminal_id(fresh) == "" and machine.fingerprint(fresh) == ""
    assert machine.is_of_this_machine(state, fresh) and not (state / machine.FILE).exists()
