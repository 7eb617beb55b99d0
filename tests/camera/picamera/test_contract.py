"""Each used method, keyword and attribute of picamera2 is checked against the library's syntax tree.

The library cannot be imported without libcamera, so its source is read and not run: the installed package, or
the wheel that `make test` has fetched beside the virtual environment.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import os
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from agent.camera.picamera.errors import FOREIGN
from tests.camera.picamera import fake_picamera2

CAMERA = Path(__file__).parents[3] / "agent" / "camera" / "picamera"
OURS = ("device.py", "library.py")
# expression in the agent's source -> class of the library
RECEIVERS = {
    "self._camera": "Picamera2",
    "camera": "Picamera2",
    "library.camera": "Picamera2",
    "request": "CompletedRequest",
    "mapped": "MappedArray",
}
NOT_THEIRS = {"camera.get", "library.camera.__new__"}  # of a mapping, and of each class
ABSENT = (
    "no picamera2 wheel was fetched: run `make picamera2` where there is a package index (or use an aarch64)"
)
# modules that the agent's calls pass through, for the exceptions they raise
PASSED_THROUGH = ("picamera2", "request", "controls", "job", "dma_heap", "utils", "allocators/dmaallocator")


def sources() -> dict[str, str]:
    """Path inside the package -> text; empty without the library."""
    found = find_spec("picamera2")
    if found is not None and found.submodule_search_locations:
        root = Path(found.submodule_search_locations[0])
        return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    wheels = sorted((Path(sys.prefix) / "picamera2").glob("picamera2-*.whl"))
    if not wheels:
        return {}
    with zipfile.ZipFile(wheels[-1]) as wheel:
        names = [name for name in wheel.namelist() if name.startswith("picamera2/") and name.endswith(".py")]
        return {name.removeprefix("picamera2/"): wheel.read(name).decode() for name in names}


@pytest.fixture(scope="module")
def theirs() -> dict[str, str]:
    found = sources()
    if not found:
        pytest.skip(ABSENT)
    return found


@pytest.fixture(scope="module")
def classes(theirs: dict[str, str]) -> dict[str, ast.ClassDef]:
    trees = [ast.parse(theirs[name]) for name in ("picamera2.py", "request.py")]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def nodes(kind: type[ast.AST]) -> Iterator[ast.AST]:
    for name in OURS:
        tree = ast.parse((CAMERA / name).read_text(encoding="utf-8"))
        yield from (node for node in ast.walk(tree) if isinstance(node, kind))


@cache
def uses() -> dict[tuple[str, str], ast.Call | None]:
    """(class, name) -> the call, or None for a read attribute."""
    found: dict[tuple[str, str], ast.Call | None] = {}
    for node in nodes(ast.Attribute):
        assert isinstance(node, ast.Attribute)
        receiver = ast.unparse(node.value)
        if receiver in RECEIVERS and f"{receiver}.{node.attr}" not in NOT_THEIRS:
            found[RECEIVERS[receiver], node.attr] = None
    for call in nodes(ast.Call):
        assert isinstance(call, ast.Call)
        if isinstance(call.func, ast.Attribute):
            key = RECEIVERS.get(ast.unparse(call.func.value), ""), call.func.attr
            if key in found:
                found[key] = call
            if call.func.attr == "mapped":
                found["MappedArray", "__init__"] = call
    return found


def method_of(cls: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """The effective definition: the last, after all overloads."""
    defined = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return defined[-1] if defined else None


def has_attribute(cls: ast.ClassDef, name: str) -> bool:
    """Whether the class has a method or property of this name, or a method that sets ``self.name``."""
    written = (node for node in ast.walk(cls) if isinstance(node, ast.Attribute))
    return method_of(cls, name) is not None or any(
        node.attr == name and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
        for node in written
    )


def misfit(method: ast.FunctionDef, call: ast.Call) -> str:
    """The reason why the call does not fit the definition; empty for a fitting call."""
    takes = [argument.arg for argument in (*method.args.posonlyargs, *method.args.args)]
    if not any(ast.unparse(one) == "staticmethod" for one in method.decorator_list):
        takes = takes[1:]
    names = {*takes, *(argument.arg for argument in method.args.kwonlyargs)}
    given = [keyword.arg for keyword in call.keywords]
    unknown = [name for name in given if name not in names]
    without_default = takes[: len(takes) - len(method.args.defaults)]
    missing = [name for name in without_default[len(call.args) :] if name not in given]
    too_many = len(call.args) > len(takes)
    return f"unknown {unknown}, missing {missing}" if unknown or missing or too_many else ""


def test_the_uses_are_found_at_all() -> None:
    found = uses()
    for method in ("configure", "capture_request", "wait", "cancel_all_and_flush", "stop_preview", "close"):
        assert found["Picamera2", method] is not None, method
    assert ("CompletedRequest", "release") in found and ("MappedArray", "__init__") in found
    assert found["Picamera2", "notifyme_w"] is None


@pytest.mark.parametrize("use", sorted(uses()), ids=".".join)
def test_each_use_exists_in_the_library(use: tuple[str, str], classes: dict[str, ast.ClassDef]) -> None:
    owner, name = use
    call = uses()[use]
    if call is None:
        assert has_attribute(classes[owner], name), f"{owner} has no {name}"
        return
    method = method_of(classes[owner], name)
    assert method is not None, f"{owner} has no method {name}"
    assert misfit(method, call) == "", f"{owner}.{name}"


def test_a_misfit_is_noticed() -> None:
    (method,) = ast.parse("def wait(self, job, timeout=None): ...").body
    assert isinstance(method, ast.FunctionDef)

    def call(text: str) -> ast.Call:
        made = ast.parse(text, mode="eval").body
        assert isinstance(made, ast.Call)
        return made

    assert misfit(method, call("x.wait(job, timeout=1)")) == ""
    for wrong in ("x.wait()", "x.wait(job, timeout_s=1)", "x.wait(job, 1, 2)"):
        assert misfit(method, call(wrong)), wrong


def test_the_keys_of_a_stream_are_valid(theirs: dict[str, str]) -> None:
    valid = next(
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(theirs["picamera2.py"]))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "valid"
    )
    assert {"size", "format"} <= set(valid)


def test_each_raised_exception_is_translated(theirs: dict[str, str]) -> None:
    raised = {
        node.exc.func.id
        for name in PASSED_THROUGH
        for node in ast.walk(ast.parse(theirs[f"{name}.py"]))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }
    assert "RuntimeError" in raised
    for name in raised:
        assert issubclass(getattr(builtins, name), FOREIGN), f"{name} would pass untranslated"


def test_fake_signatures_are_those_of_the_library(classes: dict[str, ast.ClassDef]) -> None:
    pairs = {"Picamera2": fake_picamera2.Picamera2, "CompletedRequest": fake_picamera2.Request}
    for owner, fake in pairs.items():
        for name, method in inspect.getmembers(fake, inspect.isfunction):
            real = method_of(classes[owner], name)
            if name.startswith("_") or real is None:
                assert name.startswith("_") or name == "deliver_controls", f"{owner} has no {name}"
                continue
            takes = {argument.arg for argument in real.args.args}
            assert set(inspect.signature(method).parameters) <= takes, f"{owner}.{name}"


@pytest.mark.long
def test_the_contract_was_checked() -> None:
    """In `make test-full` as root a wheel that could not be fetched is a failure, not a skip."""
    if os.geteuid() != 0 and not sources():
        pytest.skip(ABSENT)
    assert sources(), ABSENT
