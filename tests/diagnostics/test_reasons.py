"""The reasons of the checks are texts in each language, not English sentences in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.diagnostics import checks
from agent.diagnostics.check import Check, CheckReport, Finding, failed, passed
from agent.texts import Text, locales, texts_below
from tests.texts import zh

FOLDER = Path(checks.__file__).parent
HEALTH = FOLDER.parent.parent / "health"
FILES = sorted(FOLDER.glob("*.py"))
MADE_BY = {"passed", "warning", "failed", "skipped"}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MADE_BY:
            yield node


def literals(node: ast.AST) -> str:
    """The small letters of the constants; empty for ``f"{error.code}: {error}"``, "61 °C" and a Text."""
    if isinstance(node, ast.Constant):
        return "".join(each for each in str(node.value) if each.islower())
    if isinstance(node, ast.JoinedStr):
        return "".join(literals(each) for each in node.values if isinstance(each, ast.Constant))
    if isinstance(node, ast.BinOp):
        return literals(node.left) + literals(node.right)
    return ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_check_has_an_english_sentence_in_its_code(file: Path) -> None:
    tree = ast.parse(file.read_text())
    named = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in calls(tree):
        reason = call.args[0]
        reason = named.get(reason.id, reason) if isinstance(reason, ast.Name) else reason
        assert literals(reason) == "", f'{file.name}:{call.lineno}: use Text("why.…")'


def test_every_reason_is_used_and_every_used_reason_exists() -> None:
    files = (*FOLDER.parent.rglob("*.py"), HEALTH / "upgrades.py")  # judged by the agent, too
    code = "".join(file.read_text() for file in files)
    for name in texts_below("why"):
        head, _, last = name.rpartition(".")
        computed = f'f"why.{head}.{{' in code or f"why.{head}.{last.split('_')[0]}_{{" in code
        computed |= f"why.{head}.{{" in code
        assert f'"why.{name}"' in code or computed, name


def test_a_chinese_reason_is_not_the_english_one() -> None:
    for name, text in texts_below("why").items():
        english, chinese = text.template("en"), text.template("zh-CN")
        letters = "".join(each for each in english if each.isalpha() and each.islower())
        assert chinese != english or len(letters) < 4, name


def test_json_has_the_reason_in_each_language() -> None:
    why = Text("why.timed_out", limit_s="3")
    fix = Text("fix.check_timed_out")
    row = CheckReport(Check("net.tcp", lambda _: passed("")), failed(why, fix), 1).facts()
    assert (row["why"], row["why_zh"]) == (str(why), zh(why)) and row["why"] != row["why_zh"]
    quoted = CheckReport(Check("net.tcp", lambda _: passed("")), failed("http://u:p@h/x: no", fix), 1).facts()
    assert quoted["why"] == quoted["why_zh"] and "u:p" not in str(quoted["why"])
    nested = Finding(row["verdict"], Text("why.api.auth.busy_then", busy=2, why=why))  # type: ignore[arg-type]
    assert zh(why) in zh(nested.reason), "a text within a text has the same language"  # type: ignore[arg-type]
    assert len(locales()) >= 2
