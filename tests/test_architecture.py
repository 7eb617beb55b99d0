"""Who may import whom, and which file may name which library: read from the syntax trees, so it cannot drift.

The picture: a ground floor open to all; rooms that never see each other; a runtime that sees ports only;
composition roots, the only files that name concrete adapters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AGENT = ROOT / "agent"
FILES = sorted(AGENT.rglob("*.py"))

GROUND = {"errors", "texts", "log", "resources", "owner", "plain_file", "tasks", "core", "config", "health"}
ROOMS = {"camera", "vision", "compare", "till", "recorder", "terminal"}
# Composition roots may name anything of ours.
ROOTS = ("root/*.py", "demo/*.py", "service/app.py", "cli/*.py")

# file pattern -> what it may import of ours beyond the ground floor and its own room
ALSO = {
    "service/*.py": {
        "compare.contract",
        "compare.signature",
        "compare.codes",
        "compare.exchange",
        "vision",
    },
    "tillkit/*.py": {"till"},
    "fleet/*.py": {"till.signing", "till.topics", "till.writing"},
}

# The ground floor's own order: each may import only what stands before it.
ORDER = ["resources", "texts", "errors", "log", "owner", "plain_file", "core", "config", "health"]

# library -> the only files that may import it
FENCES = {
    "paho": ("till/link*.py", "kits/load/connections.py"),
    "sqlite3": ("till/outbox*.py",),
    "joserfc": ("messages/signing.py",),
    "cryptography": ("messages/signing.py", "mqtt/certificate.py", "fleet/csr.py"),
    "httpx": (
        "compare/*.py",
        "service/images*.py",
        "service/download.py",
        "diagnostics/*.py",
        "fleet/enrolment.py",
    ),
    "cv2": ("camera/*.py", "vision/*.py", "service/*.py"),
    "picamera2": ("camera/picamera/library.py",),
    "libcamera": (),
    "starlette": ("service/*.py", "page/*.py"),
    "uvicorn": ("service/*.py", "page/*.py"),
    "python_multipart": ("service/*.py",),
    "prometheus_client": ("service/*.py",),
    "iotcore": ("demo/*.py",),
    "subprocess": ("diagnostics/world.py",),
    "typer": ("cli/*.py",),
    "click": ("cli/*.py",),
    "rich": ("cli/*.py", "demo/*.py"),
    "pydantic": ("config/*.py", "service/settings.py", "camera/*.py"),
    "numpy": ("camera/*.py", "vision/*.py", "service/*.py"),
}


def name_of(path: Path) -> str:
    return path.relative_to(AGENT).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(AGENT).parts[0].removesuffix(".py")


def matches(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name_of(path), pattern) for pattern in patterns)


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports anywhere in it, dotted; ``from agent import x`` gives ``agent.x``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            if node.module == "agent":
                yield from (f"agent.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def ours(path: Path) -> Iterator[str]:
    yield from (name.removeprefix("agent.") for name in imports(path) if name.startswith("agent."))


def allowed(path: Path) -> set[str]:
    extra = next((names for pattern, names in ALSO.items() if fnmatch(name_of(path), pattern)), set())
    return GROUND | {room_of(path)} | extra


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nobody_reaches_into_another_room(path: Path) -> None:
    if matches(path, ROOTS):
        return
    permitted = allowed(path)
    for name in ours(path):
        assert any(name == room or name.startswith(room + ".") for room in permitted | {"__version__"}), (
            f"{name_of(path)} imports agent.{name}"
        )


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) in ORDER], ids=name_of)
def test_the_ground_floor_has_an_order(path: Path) -> None:
    floor = ORDER.index(room_of(path))
    for name in ours(path):
        assert name.split(".")[0] in ORDER[: floor + 1], f"{name_of(path)} imports agent.{name}"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Neither at the top nor inside a function: whoever reads one of them would have to read them all."""
    modules = {"agent." + name_of(path).removesuffix(".py").replace("/", "."): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    needs = {name: set(imports(path)) & (set(modules) - {name}) for name, path in modules.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_each_library_stays_behind_its_fence(path: Path) -> None:
    for name in imports(path):
        patterns = FENCES.get(name.split(".")[0])
        assert patterns is None or matches(path, patterns), f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", sorted((AGENT / "diagnostics").rglob("*.py")), ids=name_of)
def test_a_diagnosis_changes_nothing(path: Path) -> None:
    """Checks look. Only the running agent's own socket file is made, and taken away, from this room."""
    changes = {"write_text", "write_bytes", "unlink", "chmod", "mkdir", "rename", "replace", "touch", "kill"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        mine = name_of(path) == "control/server.py" and called in {"chmod", "unlink"}
        assert called not in changes or mine, f"{name_of(path)} calls {called}"


@pytest.mark.parametrize("path", [f for f in FILES if room_of(f) == "core"], ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    import sys

    for name in imports(path):
        top = name.split(".")[0]
        assert top == "agent" or top in sys.stdlib_module_names, f"{name_of(path)} imports {name}"
        assert top not in {"time", "random", "asyncio", "threading", "os", "socket", "pathlib", "logging"}, (
            f"{name_of(path)} imports {name}: time, chance and the world enter as data"
        )
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        assert called not in {"open", "print", "input", "exec", "eval"}, f"{name_of(path)} calls {called}"


def test_the_ports_are_small() -> None:
    """At most three methods each: a port that grows is two ports."""
    tree = ast.parse((AGENT / "core" / "ports.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(getattr(b, "id", "") == "Protocol" for b in node.bases):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert len(methods) <= 3, node.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_functions_and_classes_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 250, f"{name_of(path)} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            budget = 150 if isinstance(node, ast.ClassDef) else 40
            assert lines <= budget, (
                f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines (budget {budget})"
            )


def test_these_rules_can_fail(tmp_path: Path) -> None:
    """A rule that accepts everything guards nothing."""
    source = tmp_path / "x.py"
    source.write_text("import cv2\nfrom agent.mqtt.connection import Link\nfrom agent import demo\n")
    assert list(imports(source)) == ["cv2", "agent.mqtt.connection", "agent.demo"]
    assert not matches(AGENT / "core" / "x.py", FENCES["cv2"])
    assert "till" not in allowed(AGENT / "camera" / "source.py")
