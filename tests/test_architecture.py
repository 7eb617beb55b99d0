"""What import-linter and ruff cannot check: budgets of lines, the purity of the core, libraries by file.

The import rules are in pyproject.toml: ``[tool.importlinter]`` for folders, ``banned-api`` for libraries.
``make lint`` checks both, and the budgets of statements, branches and arguments. An exemption of ruff opens a
file to all banned libraries; ``ALLOWED_FILES`` lists the files of each library.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
AGENT = ROOT / "agent"
FILES = sorted(AGENT.rglob("*.py"))

FILE_LINES_MAX, CLASS_LINES_MAX, FUNCTION_LINES_MAX, PORT_METHODS_MAX = 250, 150, 40, 3

# library -> the only files that may import it; * stands for folders, too
ALLOWED_FILES = {
    "paho": ("mqtt/*.py", "kits/load/connections.py"),
    "sqlite3": ("outbox/*.py",),
    "joserfc": ("messages/signing.py",),
    "cryptography": ("messages/signing.py", "mqtt/certificate.py", "fleet/csr.py", "config/ca_rules.py"),
    "httpx": (
        "compare/*.py",
        "kits/compare/*.py",
        "service/images*.py",
        "service/download.py",
        "diagnostics/*.py",
        "fleet/enrolment.py",
    ),
    "cv2": ("camera/*.py", "vision/*.py", "live_view/*.py", "service/*.py"),
    "openvino": ("service/openvino_networks.py",),
    "picamera2": ("camera/picamera/library.py",),
    "libcamera": (),
    "starlette": ("service/*.py", "page/*.py", "http_listener.py"),
    "uvicorn": ("http_connection.py", "http_listener.py"),
    "h11": ("http_connection.py",),
    "python_multipart": ("service/*.py",),
    "prometheus_client": ("service/*.py",),
    "iotcore": ("demo/*.py",),
    "segno": ("cli/*.py",),
    "subprocess": ("diagnostics/check_inputs.py",),
    "typer": ("cli/*.py",),
    "click": ("cli/*.py",),
    "rich": ("cli/*.py", "demo/*.py", "terminal_output.py"),
    "pydantic": ("config/*.py", "service/settings.py", "camera/*.py"),
    "numpy": ("camera/*.py", "vision/*.py", "live_view/*.py", "service/*.py"),
}

# time, chance and input enter the core as data
IMPURE_MODULES = {"time", "random", "asyncio", "threading", "os", "socket", "pathlib", "logging"}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval"}
CHANGING_CALLS = {
    *("write_text", "write_bytes", "unlink", "chmod", "mkdir", "rename", "replace", "touch", "kill"),
}

Files = list[tuple[str, ast.Module]]  # (path below agent/, tree)


def parsed(folder: Path = AGENT) -> Files:
    found = [path for path in FILES if path.is_relative_to(folder)]
    assert found, f"{folder} holds no files"
    return [(path.relative_to(AGENT).as_posix(), _tree(path)) for path in found]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, module) of each import anywhere in a file, dotted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def calls(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """(line, name, whether it is an attribute) of each call by name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                yield node.lineno, name, False
            case ast.Call(func=ast.Attribute(attr=name)):
                yield node.lineno, name, True


def outside_fences(files: Files) -> list[str]:
    return [
        f"agent/{name}:{line} imports {module}"
        for name, tree in files
        for line, module in imports(tree)
        if (allowed := ALLOWED_FILES.get(module.split(".")[0])) is not None
        and not any(fnmatch(name, pattern) for pattern in allowed)
    ]


def impurities(files: Files) -> list[str]:
    found = []
    for name, tree in files:
        for line, module in imports(tree):
            top = module.split(".")[0]
            if top in IMPURE_MODULES or not (top == "agent" or top in sys.stdlib_module_names):
                found.append(f"agent/{name}:{line} imports {module}")
        found += [
            f"agent/{name}:{line} calls {called}"
            for line, called, attribute in calls(tree)
            if called in IMPURE_CALLS and not attribute
        ]
    return found


def over_budget(files: Files) -> list[str]:
    found = []
    for name, tree in files:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                budget = CLASS_LINES_MAX if isinstance(node, ast.ClassDef) else FUNCTION_LINES_MAX
                if lines > budget:
                    found.append(f"agent/{name}:{node.lineno} {node.name}: {lines} lines, budget {budget}")
    return found


def test_files_classes_and_functions_stay_within_their_budgets() -> None:
    found = over_budget(parsed())
    for path in FILES:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > FILE_LINES_MAX:
            found.append(f"{path.relative_to(ROOT)}: {lines} lines, budget {FILE_LINES_MAX}")
    assert not found, "\n".join(found)


def test_the_core_is_pure() -> None:
    found = impurities(parsed(AGENT / "core"))
    assert not found, "\n".join(found)


def test_the_ports_have_at_most_three_methods() -> None:
    [(_, tree)] = [each for each in parsed(AGENT / "core") if each[0] == "core/ports.py"]
    sizes = {
        node.name: sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") == "Protocol" for base in node.bases)
    }
    assert sizes and all(size <= PORT_METHODS_MAX for size in sizes.values()), sizes


def test_a_diagnosis_changes_nothing() -> None:
    found = [
        f"agent/{name}:{line} calls {called}"
        for name, tree in parsed(AGENT / "diagnostics")
        for line, called, attribute in calls(tree)
        if attribute and called in CHANGING_CALLS
    ]
    assert not found, "\n".join(found)


def test_each_library_is_imported_by_the_files_of_its_fence_only() -> None:
    found = outside_fences(parsed())
    assert not found, "\n".join(found)


def test_ruff_bans_each_library_that_has_a_fence() -> None:
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(tree["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]) == set(ALLOWED_FILES)


def test_these_rules_can_fail() -> None:
    long = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
    tree = ast.parse(f"import cv2\nimport time\nopen('x')\n{long}")
    assert outside_fences([("core/x.py", tree)]) == ["agent/core/x.py:1 imports cv2"]
    assert impurities([("core/x.py", tree)]) == [
        "agent/core/x.py:1 imports cv2",
        "agent/core/x.py:2 imports time",
        "agent/core/x.py:3 calls open",
    ]
    assert over_budget([("core/x.py", tree)]) == ["agent/core/x.py:4 f: 41 lines, budget 40"]
