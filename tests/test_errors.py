"""Every error has a fix for the operator, in every language."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import agent
from agent.errors import AgentError, CompareError, TillError
from agent.health.condition import Condition
from agent.health.conditions_compare import REPORTED_BY_API
from agent.texts import Text, has_text
from tests.texts import en, zh

AGENT = Path(agent.__file__).parent


def below(kind: type[AgentError]) -> Iterator[type[AgentError]]:
    for each in kind.__subclasses__():
        yield each
        yield from below(each)


# Errors of other modules never reach an operator: their package converts them.
KINDS = sorted((kind for kind in set(below(AgentError)) if kind.__module__ == "agent.errors"), key=str)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_class_has_a_fix_in_both_languages(kind: type[AgentError]) -> None:
    error = kind("x")
    assert error.code != "internal_error"
    assert error.fix == Text(f"fix.{kind.fix_code or error.code}")
    assert en(error.fix).endswith(".") and any("\u4e00" <= letter <= "\u9fff" for letter in zh(error.fix))


def test_fix_argument_replaces_the_default() -> None:
    for kind in KINDS:
        assert kind("x", fix=Text("fix.link_down")).fix == Text("fix.link_down")


def test_the_fix_of_a_code_is_used_in_every_class() -> None:
    assert TillError("x", code="key_unusable").fix == Text("fix.key_unusable")
    assert TillError("x", code="no_text_for_this").fix == Text("fix.link_down")


@pytest.mark.parametrize("condition", REPORTED_BY_API, ids=lambda condition: condition.code)
def test_an_error_of_the_api_has_the_fix_of_its_condition(condition: Condition) -> None:
    """Not the fix of ``compare_failed``, which is a fault of the provider."""
    error = CompareError("HTTP 302 without a code", code=condition.code)
    assert error.fix == (
        Text(f"fix.{condition.code}") if has_text(f"fix.{condition.code}") else condition.fix
    )
    assert error.fix != CompareError("x").fix


# Codes for which the text of the class is right, and codes that are not printed: missing parts of a report.
FITTING = {
    "TillError": {"link_down", "PUBLISH_CUT", "publish_refused"},
    "ConfigError": {"page_unavailable"},
    "AgentError": {"not_recorded", "no_journal", "not_remote", "bundle_too_large"},
}


def unfitting(source: str) -> Iterator[str]:
    """Codes that are raised with the text of a class about another subject."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in FITTING:
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        code = given.get("code")
        if "fix" in given or (code is None and ast.unparse(node.func) != "AgentError"):
            continue
        name = str(code.value) if isinstance(code, ast.Constant) else ast.unparse(code) if code else "?"
        if name not in FITTING[ast.unparse(node.func)] and not has_text(f"fix.{name}"):
            yield f"{node.lineno}: {name}"


def test_no_error_has_the_fix_of_another_subject() -> None:
    found = [
        f"{path.relative_to(AGENT)}:{each}"
        for path in sorted(AGENT.rglob("*.py"))
        for each in unfitting(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_a_fix_of_another_subject_is_found() -> None:
    assert list(unfitting("TillError('x', code='key_lost')")) == ["1: key_lost"]
    assert list(unfitting("AgentError('x')")) == ["1: ?"]
    assert list(unfitting("TillError('x', code='key_unusable'); TillError('x')")) == []
