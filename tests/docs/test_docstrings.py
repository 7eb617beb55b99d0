"""The docstrings of the agent: each name below ``Args:`` is a parameter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import agent

AGENT = Path(agent.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef
_ARGS = re.compile(r"^Args:\n((?: {4}.*\n?|\n)*)", re.MULTILINE)
_NAME = re.compile(r"^ {4}(\w+):", re.MULTILINE)


def parameters(node: Function | ast.ClassDef) -> set[str]:
    """The parameters of a function, or of the constructor of a class: its fields where it has none."""
    if isinstance(node, ast.ClassDef):
        made = [each for each in node.body if isinstance(each, Function) and each.name == "__init__"]
        if not made:
            fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
            return {field.id for field in fields if isinstance(field, ast.Name)}
        node = made[0]
    spec = node.args
    more = [each for each in (spec.vararg, spec.kwarg) if each is not None]
    return {each.arg for each in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *more]}


def unknown_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(function or class, name): names below ``Args:`` without a parameter."""
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef):
            listed = _ARGS.search(ast.get_docstring(node) or "")
            names = _NAME.findall(listed[1]) if listed else []
            yield from ((node.name, name) for name in names if name not in parameters(node))


def test_args_of_a_docstring_are_parameters() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in AGENT.rglob("*.py")}
    assert not [(path.name, *found) for path, tree in trees.items() for found in unknown_names(tree)]


def test_args_with_an_old_name_are_found() -> None:
    docstring = "Do.\n\n    Args:\n        old: a number.\n        new: a number.\n    "
    source = f'def f(new: int) -> None:\n    """{docstring}"""\n'
    assert [*unknown_names(ast.parse(source))] == [("f", "old")]
