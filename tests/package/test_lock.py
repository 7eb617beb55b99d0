"""The locks contain the requirements of pyproject.toml for each Python and machine, with hashes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lock import FOLDER, LOCKS
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENVIRONMENTS = [
    {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }
    for python in ("3.11", "3.13")
    for machine in ("x86_64", "aarch64")
]


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """(requirement, its hashes) of each entry."""
    joined = text_of(name).replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.split(" --hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def versions(name: str, world: dict[str, str]) -> dict[str, Version]:
    """The versions that pip installs from a lock in one environment. Fails for two versions of a package."""
    found = dict[str, Version]()
    for pin, _ in pins(name):
        if pin.marker is None or pin.marker.evaluate(world):
            key = canonicalize_name(pin.name)
            assert key not in found, f"{name}: two versions of {key} in {world}"
            found[key] = Version(str(pin.specifier).removeprefix("=="))
    return found


def wanted(extras: tuple[str, ...], world: dict[str, str]) -> Iterator[Requirement]:
    """The requirements of the project and of the extras, including extras of extras."""
    texts: list[str] = [*PROJECT["project"]["dependencies"]]
    for extra in extras:
        texts += PROJECT["project"]["optional-dependencies"][extra]
    for each in map(Requirement, texts):
        if each.name == PROJECT["project"]["name"]:
            yield from wanted(tuple(each.extras), world)
        elif each.marker is None or each.marker.evaluate(world):
            yield each


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize(
    "world", ENVIRONMENTS, ids=lambda world: f"{world['python_version']}-{world['platform_machine']}"
)
def test_each_requirement_of_the_project_is_locked_in_its_range(name: str, world: dict[str, str]) -> None:
    locked = versions(name, world)
    for each in wanted(LOCKS[name], world):
        assert canonicalize_name(each.name) in locked, f"{each} is not in {name}.txt: make lock"
        assert locked[canonicalize_name(each.name)] in each.specifier, (
            f"{each} is newer than {name}.txt: make lock"
        )
    for each in map(Requirement, () if name == "terminal" else PROJECT["build-system"]["requires"]):
        assert locked[canonicalize_name(each.name)] in each.specifier


@pytest.mark.parametrize("name", LOCKS)
def test_each_entry_is_one_version_with_sha256_hashes_and_no_address(name: str) -> None:
    entries = pins(name)
    assert len(entries) > 30
    for pin, hashes in entries:
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)) and pin.url is None, pin
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin
    assert "://" not in text_of(name) and "index-url" not in text_of(name)


@pytest.mark.parametrize(
    "world", ENVIRONMENTS, ids=lambda world: f"{world['python_version']}-{world['platform_machine']}"
)
def test_the_locks_agree_on_what_they_share(world: dict[str, str]) -> None:
    """The tested versions are the shipped versions."""
    tested = versions("dev", world)
    shipped = versions("terminal", world)
    shared = tested.keys() & shipped.keys()
    assert len(shared) > 25
    assert {name: tested[name] for name in shared} == {name: shipped[name] for name in shared}


def test_terminal_lock_has_no_demo_broker_and_no_development_tools() -> None:
    for world in ENVIRONMENTS:
        assert versions("terminal", world).keys().isdisjoint({"iotcore", "pytest", "mypy", "hatchling"})
        assert ("picamera2" in versions("terminal", world)) == (world["platform_machine"] == "aarch64")


def test_a_requirement_outside_the_lock_is_found() -> None:
    """The comparison of the tests above can fail."""
    locked = versions("terminal", ENVIRONMENTS[0])
    assert locked["httpx"] not in Requirement("httpx>=99").specifier
    assert "iotcore" in {each.name for each in wanted(("demo",), ENVIRONMENTS[0])}
