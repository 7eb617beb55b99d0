"""The message files: complete, with the same placeholders, and the only place of Chinese texts."""

from __future__ import annotations

import ast
import io
import re
import sys
from pathlib import Path

import pytest

import agent
from agent.page import page_texts
from agent.texts import (
    Text,
    TextError,
    best_locale,
    check_messages,
    json_fields,
    labelled_lines,
    lines_of_fields,
    locales,
    on_one_line,
    on_separate_lines,
    printed_locales,
    read_messages,
    translated_lines,
)
from tests.texts import en, french_installed, zh

AGENT = Path(agent.__file__).parent
MESSAGES = AGENT / "data" / "messages"
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


def test_every_language_has_every_text_with_the_same_placeholders() -> None:
    english = read_messages(MESSAGES / "en.toml")
    for locale in locales():
        check_messages(locale, read_messages(MESSAGES / f"{locale}.toml"), english)


def test_no_python_file_holds_a_chinese_text() -> None:
    found = [
        f"{path.relative_to(AGENT)}:{number}"
        for path in sorted(AGENT.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if CHINESE.search(line)
    ]
    assert found == []


def literal_keys(source: str) -> set[str]:
    """The keys that are written out in calls of ``Text``."""
    return {
        str(node.args[0].value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Text"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_key_in_the_code_has_a_text() -> None:
    english = read_messages(MESSAGES / "en.toml")
    for path in sorted(AGENT.rglob("*.py")):
        missing = literal_keys(path.read_text(encoding="utf-8")) - set(english)
        assert not missing, f"{path.relative_to(AGENT)}: add to messages/*.toml: {sorted(missing)}"


def test_every_text_is_used() -> None:
    """A text is used by its whole key, by the last part of its key, or by the group it belongs to."""
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in [*AGENT.rglob("*.py"), *(AGENT / "data" / "page").iterdir()]
    )
    quoted = set(re.findall(r"""(?<=["'])[\w.]+(?=["'])""", sources))
    groups = set(re.findall(r'Text\(\s*f"([a-z_]+)\.', sources)) - {"fix", "page"}
    groups |= {"reason", "outcome", "refusal", "guidance", "frame", "phase", "decision", "label"}
    groups |= {"errno", "resolver", "sqlite", "x509", "openssl", "http", "value", "mqtt_code"}  # of libraries
    unused = [
        key
        for key in read_messages(MESSAGES / "en.toml")
        if key.split(".")[0] not in groups
        and not re.fullmatch(r"page\.(verdict_\w+|error|warning|language)", key)  # composed in page.js
        and quoted.isdisjoint((key, key.split(".")[-1]))
    ]
    assert unused == []


def test_write_inserts_the_facts_in_each_language() -> None:
    text = Text("fix.end_other_program", pid=17)
    assert "17" in en(text) and "17" in zh(text) and en(text) != zh(text)
    assert str(text) == en(text)
    assert json_fields("fix", text) == {"fix": en(text), "fix_zh": zh(text)}
    assert labelled_lines(text, "fix")[0] == f"fix: {en(text)}" and len(labelled_lines(text, "fix")) == len(
        locales()
    )
    assert lines_of_fields("fix", json_fields("fix", text)) == labelled_lines(text, "fix")
    assert lines_of_fields("fix", json_fields("fix", None)) == []


def test_a_fact_that_is_a_text_is_written_in_the_same_language() -> None:
    inner = Text("fix.link_down")
    assert en(Text("fix.privacy_audit_all", first=inner)).startswith(en(inner))
    assert zh(Text("fix.privacy_audit_all", first=inner)).startswith(zh(inner))


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", ("en", "zh-CN")), ("gbk", ("en", "zh-CN")), ("latin-1", ("en",)), ("ascii", ("en",))],
)
def test_languages_that_stdout_cannot_write_are_left_out(
    encoding: str, printed: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    text = Text("fix.link_down")
    texts = [text.write(locale) for locale in printed]
    assert printed_locales() == printed
    assert on_separate_lines(text) == "".join(f"{each}\n" for each in texts) and on_one_line(
        text
    ) == " ".join(texts)
    assert (
        len(lines_of_fields("fix", json_fields("fix", text)))
        == len(labelled_lines(text, "fix"))
        == len(printed)
    )
    assert len(translated_lines(text, "fix")) == len(printed) - 1
    assert zh(text) in on_separate_lines(text, locales()) and json_fields("fix", text)["fix_zh"] == zh(text)


@pytest.mark.parametrize(
    ("tag", "served"), [("zh-Hans-CN", "zh-CN"), ("zh", "zh-CN"), ("en-GB", "en"), ("fr", "en"), (None, "en")]
)
def test_a_language_tag_is_served_by_the_nearest_installed_language(tag: str | None, served: str) -> None:
    assert best_locale(tag) == served


def test_an_unknown_key_is_refused_with_its_name() -> None:
    with pytest.raises(TextError, match=re.escape("fix.no_such_text")):
        str(Text("fix.no_such_text"))


@pytest.mark.parametrize(
    ("translation", "problem"),
    [
        ('[fix]\na = "x {pid}"\n', "fix.b: not translated"),
        ('[fix]\na = "x {pid}"\nb = "y"\nc = "z"\n', "fix.c: not in the English file"),
        ('[fix]\na = "x"\nb = "y"\n', "fix.a: other placeholders"),
        ('[fix]\na = "x {pid"\nb = "y"\n', "x {pid"),
        ("[fix]\na = 3\n", "fix.a: not a text"),
        ("[fix\n", "fr.toml"),
    ],
    ids=["half translated", "unknown key", "placeholder missing", "open brace", "number", "no TOML"],
)
def test_a_faulty_translation_is_refused_with_file_and_key(
    tmp_path: Path, translation: str, problem: str
) -> None:
    english = {"fix.a": "end {pid}", "fix.b": "wait"}
    file = tmp_path / "fr.toml"
    file.write_text(translation, encoding="utf-8")
    with pytest.raises(TextError, match=re.escape(problem)):
        check_messages("fr", read_messages(file), english)


def test_a_third_language_is_one_file(tmp_path: Path) -> None:
    """The file alone adds a line, a JSON field, a hint language and a language of the page, without code."""
    with french_installed(tmp_path):
        text = Text("fix.link_down")
        assert locales() == ("en", "fr", "zh-CN") and best_locale("fr-CA") == "fr"
        assert json_fields("fix", text)["fix_fr"] == f"[fr] {en(text)}"
        assert labelled_lines(text, "fix")[1] == f"[fr] fix: [fr] {en(text)}"
        assert f"[fr] {en(text)}" in on_one_line(text)
        page = page_texts.document()
        assert page["locales"] == locales() and page["page"]["log_in"][1] == "[fr] Log in"
        assert '<span lang="fr">[fr] Log in</span>' in page_texts.fill(
            '<button data-texts="log_in"></button>'
        )
