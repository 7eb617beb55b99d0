"""Every error of ours ends with what to do about it, in both languages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent
from agent.errors import AgentError, TillError
from agent.fixes import FIXES

AGENT = Path(agent.__file__).parent


def below(kind: type[AgentError]) -> Iterator[type[AgentError]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


# Those of other files never reach a person: their room turns them into answers of its own.
KINDS = sorted((kind for kind in set(below(AgentError)) if kind.__module__ == "agent.errors"), key=str)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_to_do(kind: type[AgentError]) -> None:
    error = kind("x")
    assert error.code != "internal_error"
    assert error.fix.endswith(".") and any("\u4e00" <= letter <= "\u9fff" for letter in error.fix_zh)


def test_a_particular_fix_never_stands_beside_the_chinese_of_another() -> None:
    for kind in KINDS:
        assert (kind("x", fix="Do this.").fix, kind("x", fix="Do this.").fix_zh) == ("Do this.", "")
        assert kind("x", fix="Do this.", fix_zh="请这样做。").fix_zh == "请这样做。"


CHINESE = range(0x4E00, 0x9FFF + 1)


def one_tongued(source: str) -> Iterator[int]:
    """Lines where a fix stands without its Chinese; a line of the log (``facts``) is English by the house."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            named = {ast.unparse(target) for each in node.body for target in targets(each)}
            if "fix" in named and "fix_zh" not in named:
                yield node.lineno
        elif isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if "fix" in given and ast.unparse(node.func) != "facts" and not chinese(given.get("fix_zh")):
                yield node.lineno
            if ast.unparse(node.func).endswith("Remedy") and len(node.args) + len(given) < 2:
                yield node.lineno


def targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def chinese(value: ast.expr | None) -> bool:
    """Words written on the spot must be Chinese; a name or a call stands for words that are elsewhere."""
    if isinstance(value, ast.Constant | ast.JoinedStr):
        return any(ord(letter) in CHINESE for letter in ast.unparse(value))
    return value is not None


def test_no_fix_in_the_sources_stands_without_its_chinese() -> None:
    found = [
        f"{path.relative_to(AGENT)}:{line}"
        for path in sorted(AGENT.rglob("*.py"))
        for line in one_tongued(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "trouble('x', fix='Do this.')",
        "trouble('x', fix='Do this.', fix_zh='')",
        "trouble('x', fix='Do this.', fix_zh='Do this.')",
        "class Kind(AgentError):\n    fix = 'Do this.'",
        "Remedy('Do this.')",
    ],
)
def test_a_fix_in_english_alone_would_be_found(source: str) -> None:
    assert list(one_tongued(source)) == [1]
    assert list(one_tongued("trouble('x', fix='Do this.', fix_zh='请这样做。')")) == []


# Codes that their class's own words fit, and those that no person ever gets: parts left out of a report.
FITTING = {
    "TillError": {"link_down", "publish_cut", "publish_refused"},
    "ConfigError": {"page_unavailable"},
    "AgentError": {"not_recorded", "no_journal", "not_remote", "bundle_too_large"},
}


def unfitting(source: str) -> Iterator[str]:
    """Codes raised with the advice of a class that speaks of something else."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in FITTING:
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        code = given.get("code")
        if "fix" in given or (code is None and ast.unparse(node.func) != "AgentError"):
            continue
        name = str(code.value) if isinstance(code, ast.Constant) else "?"
        if name not in FITTING[ast.unparse(node.func)] and name not in FIXES:
            yield f"{node.lineno}: {name}"


def test_no_advice_is_of_something_else() -> None:
    found = [
        f"{path.relative_to(AGENT)}:{each}"
        for path in sorted(AGENT.rglob("*.py"))
        for each in unfitting(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_advice_of_something_else_would_be_found() -> None:
    assert list(unfitting("TillError('x', code='key_lost')")) == ["1: key_lost"]
    assert list(unfitting("AgentError('x')")) == ["1: ?"]
    assert list(unfitting("TillError('x', code='key_unusable'); TillError('x')")) == []


@pytest.mark.parametrize("code", FIXES)
def test_the_advice_of_a_code_counts_wherever_it_is_raised(code: str) -> None:
    error = TillError("x", code=code)
    assert (error.fix, error.fix_zh) == FIXES[code]
    assert error.fix.endswith((".", "?")) and any(ord(letter) in CHINESE for letter in error.fix_zh)
    assert TillError("x", code=code, fix="Do this.", fix_zh="请这样做。").fix == "Do this."
